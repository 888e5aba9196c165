//! `hyperdbg gdbserver ADDR`: where gdb connects, and what is told of it on standard error.
//!
//! Whoever connects can do anything to the debuggee, and nobody asks who it is. So the usual place is one that only this machine
//! reaches ([`Place`]), a unix socket is this user's alone, and one that others reach is refused unless that is said to be meant.

use debugger::gdb::{self, End, Line, Page};
use debugger::session::{Session, Verdict};
use debugger::target::{Cancel, Mode};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use std::fs::{self, Permissions};
use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream, ToSocketAddrs};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::time::Duration;

/// How often it is looked whether this is to end while nobody connects.
const LOOK: Duration = Duration::from_millis(100);

/// Where gdb connects.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// Standard input and output: gdb's `target remote | hyperdbg …`.
    Standard,
    /// A unix socket.
    Unix(PathBuf),
    /// A host and a port.
    Tcp(String),
}

impl Place {
    /// Reads `-`, `unix:PATH`, `HOST:PORT`, `:PORT`.
    pub fn parse(text: &str) -> Result<Self, String> {
        if text == "-" {
            return Ok(Self::Standard);
        }
        if let Some(path) = text.strip_prefix("unix:").filter(|path| !path.is_empty()) {
            return Ok(Self::Unix(path.into()));
        }
        match text.rsplit_once(':') {
            Some((host, port)) if host != "unix" && port.parse::<u16>().is_ok() => {
                let host = if host.is_empty() { "127.0.0.1" } else { host };
                Ok(Self::Tcp(format!("{host}:{port}")))
            }
            _ => Err("it is HOST:PORT, :PORT (of this machine alone), unix:PATH or - (standard input and output)".to_owned()),
        }
    }
}

/// Where it listens.
enum Listener {
    Unix(UnixListener, PathBuf),
    Tcp(TcpListener),
}

impl Drop for Listener {
    fn drop(&mut self) {
        if let Self::Unix(_, path) = self {
            // One that somebody else has removed is gone all the same.
            let _ = fs::remove_file(path);
        }
    }
}

/// Somebody who connected.
enum Peer {
    Unix(UnixStream),
    Tcp(TcpStream),
}

impl Listener {
    fn open(place: &Place, exposed: bool) -> Result<Option<Self>, String> {
        match place {
            Place::Standard => Ok(None),
            Place::Unix(path) => {
                let listener = UnixListener::bind(path).and_then(|listener| {
                    fs::set_permissions(path, Permissions::from_mode(0o600))?;
                    listener.set_nonblocking(true)?;
                    Ok(listener)
                });
                let listener = listener.map_err(|why| format!("'{}' cannot be listened at: {why}", path.display()))?;
                Ok(Some(Self::Unix(listener, path.clone())))
            }
            Place::Tcp(text) => {
                let all: Vec<SocketAddr> =
                    text.to_socket_addrs().map_err(|why| format!("'{text}' is no address: {why}"))?.collect();
                if !exposed && !all.iter().all(|address| address.ip().is_loopback()) {
                    return Err(format!(
                        "'{text}' is reached from other machines, and whoever connects owns the debuggee\n     \
                         --exposed says that this is meant; `ssh -L` to 127.0.0.1 is safer"
                    ));
                }
                let listener = TcpListener::bind(&*all).and_then(|listener| {
                    listener.set_nonblocking(true)?;
                    Ok(listener)
                });
                listener
                    .map(|listener| Some(Self::Tcp(listener)))
                    .map_err(|why| format!("'{text}' cannot be listened at: {why}"))
            }
        }
    }

    /// As gdb's `target remote` takes it.
    fn name(&self) -> String {
        match self {
            Self::Unix(_, path) => path.display().to_string(),
            Self::Tcp(listener) => listener.local_addr().map_or_else(|why| why.to_string(), |address| address.to_string()),
        }
    }

    fn fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Unix(listener, _) => listener.as_fd(),
            Self::Tcp(listener) => listener.as_fd(),
        }
    }

    /// Somebody who connects within [`LOOK`].
    fn accept(&self) -> io::Result<Option<Peer>> {
        let limit = Timespec { tv_sec: 0, tv_nsec: i64::from(LOOK.subsec_nanos()) };
        // An interrupted wait ends early.
        let _ = poll(&mut [PollFd::from_borrowed_fd(self.fd(), PollFlags::IN)], Some(&limit));
        let peer = match self {
            Self::Unix(listener, _) => listener.accept().map(|(stream, _)| Peer::Unix(stream)),
            Self::Tcp(listener) => listener.accept().map(|(stream, _)| Peer::Tcp(stream)),
        };
        match peer {
            Ok(peer) => Ok(Some(peer)),
            Err(why) if matches!(why.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => Ok(None),
            // It went before it was welcomed.
            Err(why) if why.kind() == io::ErrorKind::ConnectionAborted => Ok(None),
            Err(why) => Err(why),
        }
    }
}

impl Peer {
    fn line(&self) -> io::Result<Line> {
        let (from, to): (Box<dyn Read + Send>, Box<dyn Write>) = match self {
            Self::Unix(stream) => {
                stream.set_nonblocking(false)?;
                (Box::new(stream.try_clone()?), Box::new(stream.try_clone()?))
            }
            Self::Tcp(stream) => {
                stream.set_nonblocking(false)?;
                stream.set_nodelay(true)?;
                (Box::new(stream.try_clone()?), Box::new(stream.try_clone()?))
            }
        };
        Ok(Line { from, to: Box::new(io::BufWriter::new(to)) })
    }

    /// Ends the thread that reads from it.
    fn close(&self) {
        // One that is closed already is what is wanted.
        let _ = match self {
            Self::Unix(stream) => stream.shutdown(Shutdown::Both),
            Self::Tcp(stream) => stream.shutdown(Shutdown::Both),
        };
    }
}

fn tell(text: &str) {
    let mut to = io::stderr().lock();
    // Nobody reads any more; gdb is served all the same.
    let _ = writeln!(to, "hyperdbg: {text}");
}

/// Tells what was printed since the last time.
pub fn tell_page(page: &Page) {
    let text = page.take();
    if !text.is_empty() {
        tell(text.trim_end());
    }
}

/// Serves one gdb after the other until CTRL+C; over standard input and output, one. `symbols` is a file that is written before.
pub fn run(
    session: &mut Session,
    page: &Page,
    cancel: &Cancel,
    place: &Place,
    exposed: bool,
    symbols: Option<&str>,
) -> Verdict {
    tell_page(page);
    if session.mode() != Mode::Debugger {
        tell("gdb can halt a machine only from another one: --remote says where the debuggee is");
        return Verdict::Failed;
    }
    let listener = match Listener::open(place, exposed) {
        Ok(listener) => listener,
        Err(why) => {
            tell(&why);
            return Verdict::Failed;
        }
    };
    if let Some(file) = symbols {
        let verdict = session.run_untyped(&format!(".sym save \"{file}\""));
        tell_page(page);
        if verdict != Verdict::Done {
            return verdict;
        }
    }
    let Some(listener) = listener else {
        // CTRL+C at gdb's terminal is for gdb, which says so. Who leads a group already is not started by gdb.
        let _ = rustix::process::setsid();
        let line = Line { from: Box::new(io::stdin()), to: Box::new(io::BufWriter::new(io::stdout())) };
        return match serve(session, page, line) {
            End::Detached | End::Lost | End::Ended => Verdict::Done,
            End::Gone => Verdict::Unreachable,
            End::Misunderstood => Verdict::Failed,
        };
    };
    tell(&format!("gdb may connect: target remote {}; CTRL+C ends this", listener.name()));
    while !cancel.is_set() {
        session.attend();
        tell_page(page);
        match listener.accept().and_then(|peer| peer.map(|peer| peer.line().map(|line| (peer, line))).transpose()) {
            Ok(None) => {}
            Ok(Some((peer, line))) => {
                let end = serve(session, page, line);
                peer.close();
                if end == End::Ended {
                    break;
                }
            }
            Err(why) => {
                tell(&format!("nobody can connect any more: {why}"));
                return Verdict::Failed;
            }
        }
    }
    Verdict::Done
}

fn serve(session: &mut Session, page: &Page, line: Line) -> End {
    tell("gdb connects: the debuggee is halted");
    let end = gdb::serve(session, page, line, &mut tell);
    tell(match end {
        End::Detached => "gdb has let go; the debuggee runs",
        End::Lost => "gdb is gone; the debuggee runs",
        End::Gone => "the debuggee cannot be reached or halted; gdb was let go",
        End::Misunderstood => "gdb said what is not understood here, and was let go; the debuggee runs",
        End::Ended => "gdb was let go; the debuggee runs",
    });
    end
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Would catch a port without a host that all the world reaches, and a form that is taken for another.
    #[test]
    fn a_port_alone_is_this_machines() {
        let tcp = |text: &str| Ok(Place::Tcp(text.to_owned()));
        for (text, place) in [
            ("-", Ok(Place::Standard)),
            ("unix:/tmp/x", Ok(Place::Unix("/tmp/x".into()))),
            (":1234", tcp("127.0.0.1:1234")),
            ("localhost:0", tcp("localhost:0")),
            ("[::1]:9", tcp("[::1]:9")),
        ] {
            assert_eq!(Place::parse(text), place, "{text}");
        }
        for text in ["", "1234", "host:", "host:70000", "unix:", "/tmp/x"] {
            assert!(Place::parse(text).is_err(), "{text}");
        }
    }

    /// Would catch a debuggee that anybody on the network owns by accident.
    #[test]
    fn who_listens_to_other_machines_says_so() {
        let open = |text: &str, exposed| Listener::open(&Place::parse(text).unwrap(), exposed);
        assert!(open("0.0.0.0:0", false).is_err_and(|why| why.contains("--exposed")));
        assert!(open("0.0.0.0:0", true).is_ok_and(|listener| listener.is_some()));
        assert!(open(":0", false).is_ok_and(|listener| listener.unwrap().name().starts_with("127.0.0.1:")));
    }
}
