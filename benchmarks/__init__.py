"""Every hot path side by side with Docker and Podman, in the same run, interleaved; `make bench` prints the table and says which bars are met."""
