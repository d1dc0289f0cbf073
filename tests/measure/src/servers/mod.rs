//! The servers that Vestibule is compared with. Both return the same object as `GET /v1/token`.

pub mod unguarded;
pub mod verifying;

use std::{
    io::{self, Write},
    net::SocketAddr,
};

/// Reports the address as Vestibule does.
fn announce(address: SocketAddr) -> io::Result<()> {
    let mut out = io::stdout();
    writeln!(out, "The server listens on http://{address}. It is a measurement.")?;
    out.flush()
}
