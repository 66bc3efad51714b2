//! The memory available to the program: the machine's, or the limit of its control group.

use std::fs;
use std::path::Path;
use std::sync::OnceLock;

/// The upper limit of [`default_max_pending_total`], and its value if the memory is unknown.
const MOST_PENDING_BYTES: u64 = 1 << 30;

/// The default for the bytes queued for all clients together: a quarter of the memory, at most 1
/// GiB. The rest is left for connections, subscriptions and the kernel's socket buffers, which
/// count against the control group too. The memory is read once, so that a reload does not change
/// the default.
pub(crate) fn default_max_pending_total() -> u64 {
    static BYTES: OnceLock<u64> = OnceLock::new();
    *BYTES.get_or_init(|| quarter_of(memory_bytes(Path::new("/"))))
}

/// Returns the memory of the machine or of its control group, in bytes; 0 if it is unknown. Read once.
#[cfg(feature = "streams")]
pub(crate) fn memory() -> u64 {
    static BYTES: OnceLock<u64> = OnceLock::new();
    *BYTES.get_or_init(|| memory_bytes(Path::new("/")).unwrap_or_default())
}

fn quarter_of(memory_bytes: Option<u64>) -> u64 {
    memory_bytes.map_or(MOST_PENDING_BYTES, |bytes| (bytes / 4).min(MOST_PENDING_BYTES))
}

/// Returns the minimum of the machine's memory and the control groups' limits; `None` if neither is
/// known.
fn memory_bytes(root: &Path) -> Option<u64> {
    let meminfo = fs::read_to_string(root.join("proc/meminfo")).unwrap_or_default();
    let groups = fs::read_to_string(root.join("proc/self/cgroup")).unwrap_or_default();
    total_bytes(&meminfo)
        .into_iter()
        .chain(groups.lines().filter_map(|line| limit(root, line)))
        .min()
}

fn total_bytes(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kib.checked_mul(1024)
}

/// Returns the limit for a line of `/proc/self/cgroup`, `hierarchy:controllers:group`: the minimum
/// over the group and its ancestors. A container sees its own group at the root, under any name.
fn limit(root: &Path, line: &str) -> Option<u64> {
    let mut parts = line.splitn(3, ':');
    let (hierarchy, controllers, group) = (parts.next()?, parts.next()?, parts.next()?);
    let (mount, files): (_, &[&str]) = if hierarchy == "0" && controllers.is_empty() {
        ("sys/fs/cgroup", &["memory.max", "memory.high"])
    } else if controllers.split(',').any(|controller| controller == "memory") {
        ("sys/fs/cgroup/memory", &["memory.limit_in_bytes"])
    } else {
        return None;
    };
    let mount = root.join(mount);
    let groups = Path::new(group.trim_start_matches('/')).ancestors();
    let read = |path: &Path| fs::read_to_string(path).ok()?.trim().parse::<u64>().ok();
    // No limit is written as "max", or as a number beyond all memory.
    groups
        .flat_map(|group| files.iter().map(move |file| group.join(file)))
        .filter_map(|file| read(&mount.join(file)))
        .min()
}

#[cfg(test)]
mod tests {
    use super::*;

    const GIB: u64 = 1 << 30;

    /// Creates a file tree in a temporary directory.
    fn root(files: &[(&str, &str)]) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        root
    }

    const MACHINE: (&str, &str) =
        ("proc/meminfo", "MemTotal:        8388608 kB\nMemFree:          204800 kB\n");

    fn bytes(files: &[(&str, &str)]) -> Option<u64> {
        memory_bytes(root(files).path())
    }

    #[test]
    fn the_memory_of_a_machine_is_that_of_its_kernel() {
        assert_eq!(bytes(&[MACHINE]), Some(8 * GIB));
        assert_eq!(bytes(&[]), None);
        assert_eq!(bytes(&[("proc/meminfo", "MemTotal: much\n")]), None);
    }

    #[test]
    fn control_groups_v2_are_limited_by_all_ancestors() {
        let group = ("proc/self/cgroup", "0::/system.slice/natsd.service\n");
        let own = "sys/fs/cgroup/system.slice/natsd.service/memory.max";
        let above = "sys/fs/cgroup/system.slice/memory.max";
        let high = "sys/fs/cgroup/system.slice/natsd.service/memory.high";
        assert_eq!(bytes(&[MACHINE, group, (own, "536870912\n")]), Some(GIB / 2));
        assert_eq!(bytes(&[MACHINE, group, (own, "max\n")]), Some(8 * GIB));
        assert_eq!(bytes(&[MACHINE, group, (own, "max\n"), (above, "1073741824\n")]), Some(GIB));
        assert_eq!(bytes(&[MACHINE, group, (own, "2147483648"), (high, "1073741824")]), Some(GIB));
        // In a container.
        let group = ("proc/self/cgroup", "0::/\n");
        assert_eq!(
            bytes(&[MACHINE, group, ("sys/fs/cgroup/memory.max", "1073741824\n")]),
            Some(GIB)
        );
    }

    #[test]
    fn control_groups_v1_are_supported() {
        let group = ("proc/self/cgroup", "5:cpu,cpuacct:/x\n4:memory:/docker/12ab\n0::/\n");
        let own = "sys/fs/cgroup/memory/docker/12ab/memory.limit_in_bytes";
        let top = "sys/fs/cgroup/memory/memory.limit_in_bytes";
        let none = "9223372036854771712\n";
        assert_eq!(bytes(&[MACHINE, group, (own, "536870912\n"), (top, none)]), Some(GIB / 2));
        assert_eq!(bytes(&[MACHINE, group, (own, none), (top, none)]), Some(8 * GIB));
        // A container sees its group at the root, under another name.
        assert_eq!(bytes(&[MACHINE, group, (top, "536870912\n")]), Some(GIB / 2));
    }

    #[test]
    fn the_default_is_a_quarter_of_the_memory_and_at_most_a_gibibyte() {
        assert_eq!(quarter_of(Some(GIB / 2)), 128 << 20);
        assert_eq!(quarter_of(Some(64 * GIB)), GIB);
        assert_eq!(quarter_of(None), GIB);
        assert!((1..=GIB).contains(&default_max_pending_total()));
    }
}
