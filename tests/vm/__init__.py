"""A smoke suite inside Debian's stock kernels, booted by qemu without KVM: cgroup v2, AppArmor, no EROFS from files (6.1)."""
