//! Where a debuggee's line is, and how it is opened.

use crate::error::Error;
use rustix::fs::{Mode, OFlags};
use rustix::termios::{OptionalActions, tcgetattr, tcsetattr};
use std::fmt;
use std::io;
use std::net::{TcpStream, ToSocketAddrs};
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileTypeExt;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::Duration;

/// Bits a second of a serial device unless the address says otherwise.
pub const BAUD: u32 = 115_200;
/// How long one attempt to reach a host may take.
const CONNECT_LIMIT: Duration = Duration::from_secs(2);

/// Where a debuggee's line is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    /// A unix socket, such as QEMU's COM2.
    Unix(PathBuf),
    /// `HOST:PORT`.
    Tcp(String),
    /// A serial device.
    Serial {
        /// Its path.
        path: PathBuf,
        /// Bits a second.
        baud: u32,
    },
}

impl Address {
    /// Reads `unix:PATH`, `tcp:HOST:PORT`, `/dev/ttyS0`, `/dev/ttyS0,115200` or a bare path of a socket.
    ///
    /// # Errors
    /// [`Error::Address`] with the text.
    pub fn parse(text: &str) -> Result<Self, Error> {
        let wrong = || Error::Address(text.to_owned());
        if let Some(path) = text.strip_prefix("unix:") {
            return if path.is_empty() { Err(wrong()) } else { Ok(Address::Unix(path.into())) };
        }
        if let Some(host) = text.strip_prefix("tcp:") {
            let (name, port) = host.rsplit_once(':').ok_or_else(wrong)?;
            let valid = !name.is_empty() && port.parse::<u16>().is_ok_and(|port| port != 0);
            return if valid { Ok(Address::Tcp(host.to_owned())) } else { Err(wrong()) };
        }
        let (path, baud) = match text.rsplit_once(',') {
            Some((path, baud)) if path.starts_with("/dev/") => (path, baud.parse().map_err(|_| wrong())?),
            _ => (text, BAUD),
        };
        match path {
            "" => Err(wrong()),
            path if path.starts_with("/dev/") || is_device(path) => Ok(Address::Serial { path: path.into(), baud }),
            path => Ok(Address::Unix(path.into())),
        }
    }

    /// Opens it; what comes back does not block.
    pub(super) fn open(&self) -> io::Result<OwnedFd> {
        match self {
            Address::Unix(path) => {
                let stream = UnixStream::connect(path)?;
                stream.set_nonblocking(true)?;
                Ok(stream.into())
            }
            Address::Tcp(host) => {
                let mut last = io::Error::from(io::ErrorKind::NotFound);
                for address in host.to_socket_addrs()? {
                    match TcpStream::connect_timeout(&address, CONNECT_LIMIT) {
                        Ok(stream) => {
                            stream.set_nodelay(true)?;
                            stream.set_nonblocking(true)?;
                            return Ok(stream.into());
                        }
                        Err(why) => last = why,
                    }
                }
                Err(last)
            }
            Address::Serial { path, baud } => {
                let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::NONBLOCK | OFlags::CLOEXEC;
                let device = rustix::fs::open(path, flags, Mode::empty())?;
                let mut terminal = tcgetattr(&device)?;
                terminal.make_raw();
                terminal.set_speed(*baud)?;
                tcsetattr(&device, OptionalActions::Now, &terminal)?;
                Ok(device)
            }
        }
    }
}

fn is_device(path: &str) -> bool {
    std::fs::metadata(path).is_ok_and(|data| data.file_type().is_char_device())
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Address::Unix(path) => write!(f, "unix:{}", path.display()),
            Address::Tcp(host) => write!(f, "tcp:{host}"),
            Address::Serial { path, baud } => write!(f, "{},{baud}", path.display()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Would catch a form that is taken for another: a serial device for a socket, a host without a port for a path.
    #[test]
    fn every_form_is_read_and_printed_so_that_it_can_be_read_again() {
        for (text, address) in [
            ("unix:/tmp/x", Address::Unix("/tmp/x".into())),
            ("/tmp/x,1", Address::Unix("/tmp/x,1".into())),
            ("tcp:[::1]:50", Address::Tcp("[::1]:50".into())),
            ("/dev/ttyS1", Address::Serial { path: "/dev/ttyS1".into(), baud: BAUD }),
            ("/dev/ttyS1,9600", Address::Serial { path: "/dev/ttyS1".into(), baud: 9600 }),
        ] {
            let read = Address::parse(text).unwrap();
            assert_eq!(read, address);
            assert_eq!(Address::parse(&read.to_string()).unwrap(), address);
        }
        for text in ["", "unix:", "tcp:host", "tcp::1", "tcp:host:0", "tcp:host:70000", "/dev/ttyS0,fast"] {
            assert!(matches!(Address::parse(text), Err(Error::Address(_))), "{text}");
        }
    }
}
