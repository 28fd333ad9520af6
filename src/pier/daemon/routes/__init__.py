"""The routes of the API: one file a noun, each with its table ROUTES; table.py has them together."""
