//! The listening socket: bound once, before anything else may go wrong later; accepted on by every core.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};

use rustix::net::Shutdown;

use crate::base::limits::LISTEN_BACKLOG;

/// Binds `address`, which `option` gave, and listens. The standard library sets SO_REUSEADDR, so that a restart
/// need not wait for the last connections of the process before.
///
/// # Errors
///
/// One sentence for the person at the prompt.
pub fn bind(address: SocketAddr, option: &str) -> Result<TcpListener, String> {
    let explain = |error: io::Error| match error.kind() {
        io::ErrorKind::AddrInUse => {
            format!("{address} is in use by another program; give another address or port with {option}")
        }
        io::ErrorKind::AddrNotAvailable => {
            format!("{address} is no address of this machine; give another with {option}")
        }
        io::ErrorKind::PermissionDenied => format!(
            "{address}: ports below 1024 need a privilege (CAP_NET_BIND_SERVICE); give another with {option}"
        ),
        _ => format!("cannot listen on {address}: {error}"),
    };
    let listener = TcpListener::bind(address).map_err(explain)?;
    // Listening again only changes the length of the queue: listen(2).
    rustix::net::listen(&listener, LISTEN_BACKLOG).map_err(|errno| explain(errno.into()))?;
    Ok(listener)
}

/// Ends accepting on all clones of the socket at once: accepts under way fail with EINVAL, and new
/// connections are refused.
pub fn shut(listener: &TcpListener) -> io::Result<()> {
    Ok(rustix::net::shutdown(listener, Shutdown::Both)?)
}

/// The address a client on this machine uses.
pub fn endpoint(bound: SocketAddr, is_tls: bool) -> String {
    let ip = match bound {
        SocketAddr::V4(bound) if bound.ip().is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        SocketAddr::V6(bound) if bound.ip().is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        bound => bound.ip(),
    };
    let scheme = if is_tls { "https" } else { "http" };
    format!("{scheme}://{}", SocketAddr::new(ip, bound.port()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_in_use_is_refused_with_the_option_that_helps() {
        let first = bind("127.0.0.1:0".parse().unwrap(), "--listen").unwrap();
        let error = bind(first.local_addr().unwrap(), "--admin-listen").unwrap_err();
        assert!(error.contains("in use") && error.contains("--admin-listen"), "{error}");
    }

    #[test]
    fn shutting_ends_an_accept_that_waits() {
        let listener = bind("127.0.0.1:0".parse().unwrap(), "--listen").unwrap();
        let clone = listener.try_clone().unwrap();
        let accepting = std::thread::Builder::new().spawn(move || clone.accept().is_err()).unwrap();
        shut(&listener).unwrap();
        assert!(accepting.join().unwrap());
    }

    #[test]
    fn the_endpoint_can_be_used_even_if_all_addresses_are_bound() {
        let endpoint_of = |text: &str| endpoint(text.parse().unwrap(), text.ends_with("443"));
        assert_eq!(endpoint_of("0.0.0.0:9000"), "http://127.0.0.1:9000");
        assert_eq!(endpoint_of("[::]:81"), "http://[::1]:81");
        assert_eq!(endpoint_of("10.0.0.7:80"), "http://10.0.0.7:80");
        assert_eq!(endpoint_of("0.0.0.0:9443"), "https://127.0.0.1:9443");
    }
}
