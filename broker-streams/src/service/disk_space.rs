//! The space of the disk with the streams.

use std::path::Path;

/// Returns the bytes that are free to this user, and all bytes of the file system with a directory; `None` if the system does
/// not tell.
#[cfg(target_os = "linux")]
pub fn disk_space(directory: &Path) -> Option<(u64, u64)> {
    let found = nix::sys::statvfs::statvfs(directory).ok()?;
    let unit = found.fragment_size();
    Some((found.blocks_available() * unit, found.blocks() * unit))
}

/// Returns `None`: the system is not asked.
#[cfg(not(target_os = "linux"))]
pub fn disk_space(_: &Path) -> Option<(u64, u64)> {
    None
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn a_directory_is_on_a_disk() {
        let (free, all) = disk_space(&std::env::temp_dir()).unwrap();
        assert!(all > 0 && free <= all, "{free} of {all}");
        assert_eq!(disk_space(Path::new("/nowhere")), None);
    }
}
