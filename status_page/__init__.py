"""What is up and what is down, for the public: a collector and ready-made pages."""
