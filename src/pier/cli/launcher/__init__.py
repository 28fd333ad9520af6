"""The installed `pier` program: written once at installation, because pip's and uv's console scripts take 6 to 10 ms more."""
