"""One run of a job: read the sources, upload to the stores, under the job's lock."""
