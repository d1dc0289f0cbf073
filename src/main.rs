//! The binary `vestibule`: runs the command line.

use std::process::ExitCode;

use tikv_jemallocator::Jemalloc;

// jemalloc returns the memory of thousands of closed connections to the system within seconds. glibc keeps it.
#[global_allocator]
static ALLOCATOR: Jemalloc = Jemalloc;

fn main() -> ExitCode {
    vestibule::cli::main()
}
