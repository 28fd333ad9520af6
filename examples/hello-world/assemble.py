#!/usr/bin/env python3
"""Writes `hello`: a static Linux executable of a few kilobytes, byte by byte, for x86-64 or arm64. No compiler is needed.

    python3 assemble.py [--architecture amd64|arm64] [--output hello]

The file is an ELF header, one program header (read and execute, nothing is writable), the code, and the text that it prints. The
code is the loop that a careful `write` needs: a pipe may take less than it is given.

Sources: elf(5); System V ABI, AMD64 supplement, appendix A.2.1 (system calls); Arm Architecture Reference Manual, section C6.2
(instructions); linux/include/uapi/asm-generic/unistd.h (system call numbers of arm64).
"""

import argparse
import os
import struct

LOAD_ADDRESS = 0x400000
HEADERS_BYTES = 64 + 56  # the ELF header and one program header
MACHINES = {"amd64": 62, "arm64": 183}  # e_machine: EM_X86_64, EM_AARCH64

TEXT = """
Hello from Pier!

If you can read this, your installation works. To print it, Pier

  1. took the command from the `pier` client over its socket,
  2. found the image "hello-world": one file, assembled by a script of some lines,
  3. laid a writable folder over it and gave it to a new process, with process IDs,
     mounts, a network, a host name and limits of its own,
  4. started that process and handed what it wrote to your terminal.

Try something bigger next:

  pier run -it busybox sh
  pier run -d --name web busybox httpd -f
  pier --help

""".lstrip("\n").encode()


def amd64(text_bytes):
    """The code for x86-64. Registers: rsi the text that is left, ebx its length."""
    loop = b"".join((
        b"\xbf\x01\x00\x00\x00",          # again: mov edi, 1           file descriptor: standard output
        b"\x89\xda",                      #        mov edx, ebx
        b"\xb8\x01\x00\x00\x00",          #        mov eax, 1           write
        b"\x0f\x05",                      #        syscall              (changes rcx and r11 besides rax)
        b"\x48\x85\xc0",                  #        test rax, rax
        b"\x7e\x10",                      #        jle fail             an error, or nothing was taken
        b"\x48\x01\xc6",                  #        add rsi, rax
        b"\x29\xc3",                      #        sub ebx, eax
    ))
    loop += b"\x75" + struct.pack("b", -(len(loop) + 2))  #  jnz again
    end = b"".join((
        b"\x31\xff",                      #        xor edi, edi
        b"\xb8\x3c\x00\x00\x00",          # leave: mov eax, 60          exit
        b"\x0f\x05",                      #        syscall
        b"\xbf\x01\x00\x00\x00",          # fail:  mov edi, 1
        b"\xeb\xf2",                      #        jmp leave
    ))
    start = b"\xbb" + struct.pack("<i", text_bytes)                  # mov ebx, text_bytes
    start += b"\x48\x8d\x35" + struct.pack("<i", len(loop) + len(end))  # lea rsi, [rip + text]
    return start + loop + end


def arm64(text_bytes):
    """The code for arm64. Registers: x1 the text that is left, x19 its length."""
    words = [
        0x10000001 | (17 * 4) >> 2 << 5,  # 0        adr x1, text         17 instructions from here
        0x52800013 | text_bytes << 5,     # 1        movz w19, #text_bytes
        0xD2800020,                       # 2 again: mov x0, #1           file descriptor: standard output
        0xAA1303E2,                       # 3        mov x2, x19
        0xD2800808,                       # 4        mov x8, #64          write
        0xD4000001,                       # 5        svc #0
        0xF100001F,                       # 6        cmp x0, #0
        0x5400000D | 8 << 5,              # 7        b.le fail
        0x8B000021,                       # 8        add x1, x1, x0
        0xEB000273,                       # 9        subs x19, x19, x0
        0x54000001 | (-8 & 0x7FFFF) << 5, # 10       b.ne again
        0xD2800000,                       # 11       mov x0, #0
        0xD2800BA8,                       # 12 leave: mov x8, #93         exit
        0xD4000001,                       # 13       svc #0
        0xD503201F,                       # 14       nop
        0xD2800020,                       # 15 fail: mov x0, #1
        0x14000000 | (-4 & 0x3FFFFFF),    # 16       b leave
    ]
    return struct.pack(f"<{len(words)}I", *words)


def assemble(architecture, text=TEXT):
    """The bytes of the executable. architecture: `amd64` or `arm64`. text: what it prints, at most 65,535 bytes."""
    if not 0 < len(text) < 1 << 16:
        raise ValueError(f"a text of {len(text)} bytes: one to 65535 fit the instruction")
    code = amd64(len(text)) if architecture == "amd64" else arm64(len(text))
    size = HEADERS_BYTES + len(code) + len(text)
    header = struct.pack(
        "<4sBBBBB7xHHIQQQIHHHHHH",
        b"\x7fELF", 2, 1, 1, 0, 0,        # 64 bits, little-endian, version 1, System V
        2, MACHINES[architecture], 1,     # an executable
        LOAD_ADDRESS + HEADERS_BYTES,     # the entry: the code follows the headers
        64, 0, 0, 64, 56, 1, 0, 0, 0,     # the program header follows this one; there are no sections
    )
    segment = struct.pack("<IIQQQQQQ", 1, 5, 0, LOAD_ADDRESS, LOAD_ADDRESS, size, size, 0x10000)  # PT_LOAD, read and execute, the whole file
    return header + segment + code + text


def main():
    """Write the file."""
    machines = {"x86_64": "amd64", "aarch64": "arm64"}
    parser = argparse.ArgumentParser(description="assemble the hello-world program")
    parser.add_argument("--architecture", choices=sorted(MACHINES), default=machines.get(os.uname().machine, "amd64"))
    parser.add_argument("--output", default=os.path.join(os.path.dirname(os.path.abspath(__file__)), "hello"))
    arguments = parser.parse_args()
    with open(arguments.output, "wb") as file:
        file.write(assemble(arguments.architecture))
    os.chmod(arguments.output, 0o755)
    print(arguments.output)


if __name__ == "__main__":
    main()
