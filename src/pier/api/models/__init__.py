"""The types of requests and answers, one file a noun."""
