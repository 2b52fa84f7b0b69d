//! Listening sockets: opening them as the configuration says, and accepting from them.

use super::stream::Stream;
use crate::client::Origin;
use mio::net::{TcpListener, UnixListener};
use socket2::{Domain, Protocol, SockRef, Socket, TcpKeepalive, Type};
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs};
use std::os::fd::AsRawFd;
use std::time::Duration;

/// A socket that can't be listened on.
#[derive(Debug, thiserror::Error)]
#[error("can't listen on {address}: {source}")]
pub struct ListenError {
    /// Where.
    pub address: String,
    /// Why.
    pub source: io::Error,
}

/// A listening socket.
#[derive(Debug)]
pub enum Listener {
    /// TCP.
    Tcp(TcpListener),
    /// A Unix socket.
    Unix(UnixListener),
}

/// Opens every socket that the configuration asks for. `bind` holds addresses separated by spaces; one with `-` before it may be
/// missing on this machine, `*` and `::*` mean all of IPv4 and IPv6.
///
/// # Errors
///
/// The first address that can't be listened on.
pub fn listen(
    bind: &str,
    port: u16,
    backlog: i32,
    unix: Option<(&str, u32)>,
) -> Result<Vec<Listener>, ListenError> {
    let mut listeners = Vec::new();
    let failed = |address: String| move |source: io::Error| ListenError { address, source };
    for word in bind.split_ascii_whitespace().filter(|_| port != 0) {
        let (name, optional) = match word.strip_prefix('-') {
            Some(name) => (name, true),
            None => (word, false),
        };
        let address = resolve(name, port).map_err(failed(format!("{name}:{port}")))?;
        match listen_tcp(address, backlog) {
            Ok(listener) => listeners.push(listener),
            Err(error) if optional && is_missing_address(&error) => {
                tracing::debug!(%address, %error, "not listening on an optional address");
            }
            Err(error) => return Err(failed(address.to_string())(error)),
        }
    }
    if let Some((path, mode)) = unix {
        listeners.push(listen_unix(path, mode, backlog).map_err(failed(path.to_owned()))?);
    }
    Ok(listeners)
}

fn resolve(name: &str, port: u16) -> io::Result<SocketAddr> {
    match name {
        "*" => Ok((Ipv4Addr::UNSPECIFIED, port).into()),
        "::*" => Ok((Ipv6Addr::UNSPECIFIED, port).into()),
        _ => (name, port).to_socket_addrs()?.next().ok_or_else(|| io::ErrorKind::AddrNotAvailable.into()),
    }
}

fn is_missing_address(error: &io::Error) -> bool {
    use rustix::io::Errno;
    error.kind() == io::ErrorKind::AddrNotAvailable
        || [Errno::AFNOSUPPORT, Errno::PROTONOSUPPORT, Errno::NOPROTOOPT]
            .iter()
            .any(|errno| error.raw_os_error() == Some(errno.raw_os_error()))
}

fn listen_tcp(address: SocketAddr, backlog: i32) -> io::Result<Listener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())?;
    socket.listen(backlog)?;
    socket.set_nonblocking(true)?;
    Ok(Listener::Tcp(TcpListener::from_std(socket.into())))
}

#[expect(
    clippy::disallowed_methods,
    reason = "the path of a socket, which is no data of ours: nothing to simulate"
)]
fn listen_unix(path: &str, mode: u32, backlog: i32) -> io::Result<Listener> {
    use std::os::unix::fs::PermissionsExt;
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    socket.bind(&socket2::SockAddr::unix(path)?)?;
    if mode != 0 {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode))?;
    }
    socket.listen(backlog)?;
    socket.set_nonblocking(true)?;
    Ok(Listener::Unix(UnixListener::from_std(socket.into())))
}

impl Listener {
    /// Accepts one connection that waits, and says where it comes from. The kernel's calls only; who is welcome is decided elsewhere.
    ///
    /// # Errors
    ///
    /// `WouldBlock` when none waits; running out of descriptors, or whatever else the kernel says.
    pub fn accept(&self, keepalive_seconds: u64) -> io::Result<(Stream, Origin)> {
        match self {
            Listener::Tcp(listener) => {
                let (stream, address) = listener.accept()?;
                // Failing to set an option must not cost the client its connection.
                let _ = stream.set_nodelay(true);
                if keepalive_seconds > 0 {
                    let keepalive = TcpKeepalive::new()
                        .with_time(Duration::from_secs(keepalive_seconds))
                        .with_interval(Duration::from_secs((keepalive_seconds / 3).max(1)))
                        .with_retries(3);
                    let _ = SockRef::from(&stream).set_tcp_keepalive(&keepalive);
                }
                let origin = Origin {
                    address: address.to_string(),
                    local_address: stream.local_addr().map(|local| local.to_string()).unwrap_or_default(),
                    descriptor: stream.as_raw_fd(),
                    local: is_loopback(address.ip()),
                    unix: false,
                };
                Ok((Stream::Tcp(stream), origin))
            }
            Listener::Unix(listener) => {
                let (stream, _) = listener.accept()?;
                let path = listener
                    .local_addr()
                    .ok()
                    .and_then(|address| address.as_pathname().map(|path| path.display().to_string()));
                let address = format!("{}:0", path.unwrap_or_default());
                let origin = Origin {
                    address: address.clone(),
                    local_address: address,
                    descriptor: stream.as_raw_fd(),
                    local: true,
                    unix: true,
                };
                Ok((Stream::Unix(stream), origin))
            }
        }
    }

    /// Where it listens, for the log.
    pub fn describe(&self) -> String {
        match self {
            Listener::Tcp(listener) => {
                listener.local_addr().map(|address| address.to_string()).unwrap_or_default()
            }
            Listener::Unix(listener) => listener
                .local_addr()
                .ok()
                .and_then(|address| address.as_pathname().map(|path| path.display().to_string()))
                .unwrap_or_default(),
        }
    }
}

fn is_loopback(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => address.is_loopback(),
        IpAddr::V6(address) => {
            address.is_loopback() || address.to_ipv4_mapped().is_some_and(|mapped| mapped.is_loopback())
        }
    }
}

impl mio::event::Source for Listener {
    fn register(
        &mut self,
        registry: &mio::Registry,
        token: mio::Token,
        interests: mio::Interest,
    ) -> io::Result<()> {
        match self {
            Listener::Tcp(listener) => listener.register(registry, token, interests),
            Listener::Unix(listener) => listener.register(registry, token, interests),
        }
    }

    fn reregister(
        &mut self,
        registry: &mio::Registry,
        token: mio::Token,
        interests: mio::Interest,
    ) -> io::Result<()> {
        match self {
            Listener::Tcp(listener) => listener.reregister(registry, token, interests),
            Listener::Unix(listener) => listener.reregister(registry, token, interests),
        }
    }

    fn deregister(&mut self, registry: &mio::Registry) -> io::Result<()> {
        match self {
            Listener::Tcp(listener) => listener.deregister(registry),
            Listener::Unix(listener) => listener.deregister(registry),
        }
    }
}
