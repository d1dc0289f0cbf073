//! Directories for the databases of tests.

use std::sync::LazyLock;

use tempfile::TempDir;

/// A file system in memory. Linux has one.
const MEMORY: &str = "/dev/shm";
/// How much memory must be free, in bytes: much more than all tests together use at once.
const NEEDED: u64 = 1 << 30;

/// Makes an empty directory, in memory if there is enough. A request fails if its database does not answer within 1.75 seconds,
/// and a commit can take longer on a disk that is still writing what a compiler has produced.
pub fn temporary() -> TempDir {
    static IS_ENOUGH: LazyLock<bool> =
        LazyLock::new(|| rustix::fs::statvfs(MEMORY).is_ok_and(|disk| disk.f_bavail.saturating_mul(disk.f_frsize) >= NEEDED));
    if *IS_ENOUGH { TempDir::new_in(MEMORY) } else { TempDir::new() }.unwrap()
}
