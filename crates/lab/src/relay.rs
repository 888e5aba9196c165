//! Carries bytes between Bochs' serial ports, which speak TCP, and the sockets of a run, which have names.
//!
//! Bochs connects once, as it starts, and never again; clients of the link come and go, one at a time. What the guest sends
//! while there is none is lost, as on a line that nobody listens to, and as with QEMU.
//!
//! **Holds always**
//! - Y1: a port listens on the loopback interface, at a number that the system chose, until one program has connected.
//! - Y2: a relay ends with Bochs, and closes its socket then: whoever waits at the other end learns it at once.
//! - Y3: it holds one piece of bytes in each direction; a slow reader slows the writer. Both ends' buffers hold 100 kB and more
//!   before the relay would stand still for good, and neither end sends that much without reading.
//!
//! **Callers**: [`crate::bochs`]. **Cost**: a thread a port. **Proof**: below, and `tests/vendors.rs`.

use crate::error::{At, Error};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use std::{
    io::{self, Read, Write},
    net::{Ipv4Addr, TcpListener, TcpStream},
    os::unix::net::{UnixListener, UnixStream},
    path::Path,
    thread,
    time::{Duration, Instant},
};

/// Bytes carried at once.
const PIECE_BYTES: usize = 4096;
/// How long Bochs may take to connect; one that never does has ended, and the thread would be left.
const CONNECT_LIMIT: Duration = Duration::from_secs(60);

/// What waits for Bochs at a port.
pub(crate) enum Side {
    /// Clients come to this socket.
    Listens(UnixListener),
    /// The lab waits at the other end of this one.
    Connected(UnixStream),
}

impl Side {
    /// Clients may come to a socket at this path.
    pub(crate) fn listen(path: &Path) -> Result<Self, Error> {
        UnixListener::bind(path).map(Self::Listens).at("listen at", path)
    }

    /// The lab listens at this path.
    pub(crate) fn connect(path: &Path) -> Result<Self, Error> {
        UnixStream::connect(path).map(Self::Connected).at("connect to", path)
    }
}

/// Opens a port for Bochs and carries what passes through it, in a thread. The port's number.
pub(crate) fn begin(side: Side) -> io::Result<u16> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let number = listener.local_addr()?.port();
    listener.set_nonblocking(true)?;
    thread::spawn(move || {
        // However it ends, both ends learn it by a socket that closes.
        let _ = accept(&listener).and_then(|port| {
            drop(listener);
            carry(port, side)
        });
    });
    Ok(number)
}

fn accept(listener: &TcpListener) -> io::Result<TcpStream> {
    let until = Instant::now() + CONNECT_LIMIT;
    let slice = Timespec { tv_sec: 1, tv_nsec: 0 };
    while Instant::now() < until {
        if poll(&mut [PollFd::new(listener, PollFlags::IN)], Some(&slice))? > 0 {
            let (port, _) = listener.accept()?;
            port.set_nonblocking(false)?;
            port.set_nodelay(true)?;
            return Ok(port);
        }
    }
    Err(io::ErrorKind::TimedOut.into())
}

/// Until Bochs closes its end, or the lab does.
fn carry(mut port: TcpStream, side: Side) -> io::Result<()> {
    let (listener, mut client) = match side {
        Side::Listens(listener) => (Some(listener), None),
        Side::Connected(stream) => (None, Some(stream)),
    };
    let mut room = [0; PIECE_BYTES];
    loop {
        let (from_port, from_side) = {
            let other = match (&client, &listener) {
                (Some(client), _) => PollFd::new(client, PollFlags::IN),
                (None, Some(listener)) => PollFd::new(listener, PollFlags::IN),
                (None, None) => return Ok(()),
            };
            let mut ready = [PollFd::new(&port, PollFlags::IN), other];
            poll(&mut ready, None)?;
            (!ready[0].revents().is_empty(), !ready[1].revents().is_empty())
        };
        if from_port {
            let count = port.read(&mut room)?;
            if count == 0 {
                return Ok(());
            }
            if client.as_mut().is_some_and(|client| client.write_all(&room[..count]).is_err()) {
                client = None;
                continue;
            }
        }
        if from_side {
            match (&mut client, &listener) {
                (Some(stream), _) => match stream.read(&mut room) {
                    Ok(count) if count > 0 => port.write_all(&room[..count])?,
                    _ => client = None,
                },
                (None, Some(listener)) => client = Some(listener.accept()?.0),
                (None, None) => return Ok(()),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Option<Duration> = Some(Duration::from_secs(10));

    fn folder(name: &str) -> std::path::PathBuf {
        let folder = std::env::temp_dir().join(format!("lab-test-{}-{name}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        folder
    }

    /// Would catch a link that one client can use once, bytes that the second client gets of the first, and a client that
    /// waits for ever after Bochs' end.
    #[test]
    fn clients_of_the_link_follow_one_another_until_bochs_ends() {
        let folder = folder("relay");
        let path = folder.join("link.sock");
        let mut bochs = TcpStream::connect(("127.0.0.1", begin(Side::listen(&path).unwrap()).unwrap())).unwrap();
        bochs.set_read_timeout(LIMIT).unwrap();
        let mut room = [0; 1];
        for byte in [b"1", b"2"] {
            let mut client = UnixStream::connect(&path).unwrap();
            client.set_read_timeout(LIMIT).unwrap();
            client.write_all(byte).unwrap();
            bochs.read_exact(&mut room).unwrap();
            assert_eq!(&room, byte);
            bochs.write_all(b"a").unwrap();
            client.read_exact(&mut room).unwrap();
            assert_eq!(&room, b"a");
        }
        let mut last = UnixStream::connect(&path).unwrap();
        last.set_read_timeout(LIMIT).unwrap();
        drop(bochs);
        assert_eq!(last.read(&mut room).unwrap_or(0), 0);
        std::fs::remove_dir_all(folder).unwrap();
    }

    /// Would catch a lab that waits to the limit for a guest whose emulator is gone.
    #[test]
    fn the_end_of_bochs_closes_the_labs_socket() {
        let (mut lab, relayed) = UnixStream::pair().unwrap();
        lab.set_read_timeout(LIMIT).unwrap();
        let bochs = TcpStream::connect(("127.0.0.1", begin(Side::Connected(relayed)).unwrap())).unwrap();
        drop(bochs);
        assert_eq!(lab.read(&mut [0; 1]).unwrap(), 0);
    }
}
