//! What the server tells the supervisor that started it, by the protocol of systemd (`sd_notify(3)`): a datagram to the socket
//! that `NOTIFY_SOCKET` names. Without this variable it tells nothing.

use std::{
    env,
    os::{
        linux::net::SocketAddrExt as _,
        unix::{
            ffi::OsStrExt as _,
            net::{SocketAddr, UnixDatagram},
        },
    },
};

/// The server listens.
pub(super) const READY: &str = "READY=1";
/// The server has received a signal to stop.
pub(super) const STOPPING: &str = "STOPPING=1";

/// Sends a state to the supervisor. A failure is logged: the supervisor then ends the process after its time limit, and an operator
/// must see why.
pub(super) fn notify(state: &str) {
    let Some(socket) = env::var_os("NOTIFY_SOCKET") else { return };
    // A name that begins with `@` is in the abstract namespace of Linux.
    let address = match socket.as_bytes() {
        [b'@', name @ ..] => SocketAddr::from_abstract_name(name),
        _ => SocketAddr::from_pathname(&socket),
    };
    let send = |address| UnixDatagram::unbound()?.send_to_addr(state.as_bytes(), &address);
    if let Err(error) = address.and_then(send) {
        tracing::warn!(socket = %socket.display(), cause = %error, "cannot tell the supervisor {state}");
    }
}
