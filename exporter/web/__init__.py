"""The exporter's HTTP server: TLS, passwords, access rules, content negotiation."""
