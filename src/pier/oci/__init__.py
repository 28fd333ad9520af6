"""Documents of the Open Container Initiative and of Docker's images: pure values, no I/O.

reference (names), digest, descriptor, manifest (and index), image_config, platform, runtime_spec.
"""
