//! Runs the command line.

use std::process::ExitCode;

// glibc keeps what thousands of connections took after they have ended. jemalloc returns it to the system within seconds.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    vestibule::cli::main()
}
