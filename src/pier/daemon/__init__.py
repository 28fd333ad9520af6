"""`pierd`: configuration, the one place that constructs everything (main), the API's routes, one file a noun."""
