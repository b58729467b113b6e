"""Download of data sets: their files, and HTTP requests with retries."""
