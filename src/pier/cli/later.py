"""Help of commands that Docker has and Pier does not yet: their flags are listed, so that who looks for one finds that it comes."""

from pier.cli import help as pages
from pier.cli.session import Cli

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pier.cli.flags import Flag

USAGES: "dict[str, str]" = {"build": "[OPTIONS] PATH | URL | -"}
FLAGS: "dict[str, tuple[Flag, ...]]" = {
    "build": (
        ("add-host", "", "list", "Add a custom host-to-IP mapping (\"host:ip\")"),
        ("build-arg", "", "list", "Set build-time variables"),
        ("cache-from", "", "strings", "Images to consider as cache sources"),
        ("cgroup-parent", "", "string", "Set the parent cgroup for the \"RUN\" instructions during build"),
        ("compress", "", "bool", "Compress the build context using gzip"),
        ("cpu-period", "", "int", "Limit the CPU CFS (Completely Fair Scheduler) period"),
        ("cpu-quota", "", "int", "Limit the CPU CFS (Completely Fair Scheduler) quota"),
        ("cpu-shares", "c", "int", "CPU shares (relative weight)"),
        ("cpuset-cpus", "", "string", "CPUs in which to allow execution (0-3, 0,1)"),
        ("cpuset-mems", "", "string", "MEMs in which to allow execution (0-3, 0,1)"),
        ("disable-content-trust", "", "bool", "Skip image verification (default true)"),
        ("file", "f", "string", "Name of the Dockerfile (Default is \"PATH/Dockerfile\")"),
        ("force-rm", "", "bool", "Always remove intermediate containers"),
        ("iidfile", "", "string", "Write the image ID to the file"),
        ("isolation", "", "string", "Container isolation technology"),
        ("label", "", "list", "Set metadata for an image"),
        ("memory", "m", "bytes", "Memory limit"),
        ("memory-swap", "", "bytes", "Swap limit equal to memory plus swap: -1 to enable unlimited swap"),
        ("network", "", "string", "Set the networking mode for the RUN instructions during build (default \"default\")"),
        ("no-cache", "", "bool", "Do not use cache when building the image"),
        ("platform", "", "string", "Set platform if server is multi-platform capable"),
        ("pull", "", "bool", "Always attempt to pull a newer version of the image"),
        ("quiet", "q", "bool", "Suppress the build output and print image ID on success"),
        ("rm", "", "bool", "Remove intermediate containers after a successful build (default true)"),
        ("security-opt", "", "strings", "Security options"),
        ("shm-size", "", "bytes", "Size of \"/dev/shm\""),
        ("squash", "", "bool", "Squash newly built layers into a single new layer"),
        ("tag", "t", "list", "Name and optionally a tag in the \"name:tag\" format"),
        ("target", "", "string", "Set the target build stage to build."),
        ("ulimit", "", "ulimit", "Ulimit options (default [])"),
    ),
}
"""By the last word of the command; of the others nothing is listed."""


def show(cli: Cli, path: str, short: str) -> int:
    """Print the help of a command that comes later; 0. path: as it was called (`image build`); short: its description."""
    name = path.rpartition(" ")[2]
    flags = FLAGS.get(name, ())
    every = frozenset(flag[0] for flag in flags)
    cli.out(pages.command_page(path, USAGES.get(name, ""), f"{short} {pages.NOT_YET}", (), flags, every, pages.width()).rstrip("\n") + "\n")
    return 0
