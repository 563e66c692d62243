//! Listens on TCP, where that is safe, and on unix sockets that only the server's own user can
//! reach.

use super::connection::Stream;
use crate::access::{Arrival, Authorizer};
use rustix::fs::{AtFlags, Mode, OFlags};
use std::ffi::{OsStr, OsString};
use std::io::{Error, ErrorKind};
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use tokio::net::{TcpListener, UnixListener, UnixStream};

/// Why a server cannot listen.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ListenError {
    /// Every machine on the network could control the agents.
    #[error(
        "{0} can be reached from other machines, and this server lets in whoever connects; give it a token, or listen on 127.0.0.1 or ::1"
    )]
    Unprotected(SocketAddr),
    /// The system refuses the address.
    #[error("cannot listen on {address}: {source}")]
    Address {
        /// The address.
        address: SocketAddr,
        /// The system's error.
        source: Error,
    },
    /// The socket cannot be created.
    #[error("cannot make the socket {}: {source}", path.display())]
    Socket {
        /// The path of the socket.
        path: PathBuf,
        /// The system's error.
        source: Error,
    },
    /// Another server is listening there.
    #[error("another server answers on the socket {}; end that one, or name another path", path.display())]
    Answers {
        /// The path of the socket.
        path: PathBuf,
    },
    /// The socket's path exists and is not a socket.
    #[error("{} is there already and is not a socket; name another path", path.display())]
    Occupied {
        /// The path of the socket.
        path: PathBuf,
    },
}

/// The source of connections.
#[derive(Debug)]
pub struct Listener(Kind);

#[derive(Debug)]
enum Kind {
    Tcp(TcpListener),
    Unix(
        UnixListener,
        #[expect(dead_code, reason = "removes the socket when it is dropped")] Place,
    ),
}

impl Listener {
    /// Listens on a TCP address. Port 0 selects any free port.
    ///
    /// # Errors
    /// [`ListenError::Unprotected`] for an address that is not loopback, if the authorizer lets in
    /// every client; [`ListenError::Address`] if the system refuses.
    pub async fn tcp(
        address: SocketAddr,
        authorizer: &dyn Authorizer,
    ) -> Result<Self, ListenError> {
        if authorizer.is_open() && !address.ip().to_canonical().is_loopback() {
            return Err(ListenError::Unprotected(address));
        }
        let listener = TcpListener::bind(address).await;
        let failed = |source| ListenError::Address { address, source };
        Ok(Self(Kind::Tcp(listener.map_err(failed)?)))
    }

    /// Listens on a unix socket that only the server's own user can connect to. A socket that
    /// no process listens on any more is replaced. Dropping the listener removes its socket.
    ///
    /// # Errors
    /// [`ListenError::Answers`], [`ListenError::Occupied`], or [`ListenError::Socket`] if the
    /// system refuses.
    pub async fn unix(path: impl AsRef<Path>) -> Result<Self, ListenError> {
        let path = path.as_ref();
        let failed = |source| ListenError::Socket {
            path: path.into(),
            source,
        };

        let place = Place::of(path).map_err(failed)?;
        match place.is_socket().map_err(failed)? {
            None => {}
            Some(false) => return Err(ListenError::Occupied { path: path.into() }),
            Some(true) => match UnixStream::connect(place.address()).await {
                Err(error) if error.kind() == ErrorKind::ConnectionRefused => {}
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                Err(error) => return Err(failed(error)),
                Ok(_) => return Err(ListenError::Answers { path: path.into() }),
            },
        }

        let (listener, place) = place.bind().map_err(failed)?;
        Ok(Self(Kind::Unix(listener, place)))
    }

    /// Returns the address, if it is TCP.
    #[must_use]
    pub fn address(&self) -> Option<SocketAddr> {
        match &self.0 {
            Kind::Tcp(listener) => listener.local_addr().ok(),
            Kind::Unix(..) => None,
        }
    }

    pub(super) async fn accept(&self) -> std::io::Result<(Stream, Arrival)> {
        match &self.0 {
            Kind::Tcp(listener) => {
                let (stream, peer) = listener.accept().await?;
                // Small events must not wait for more data.
                stream.set_nodelay(true)?;
                let local = stream.local_addr()?;
                Ok((Box::new(stream), Arrival::Tcp { peer, local }))
            }
            Kind::Unix(listener, _) => {
                let (stream, _) = listener.accept().await?;
                let uid = stream.peer_cred()?.uid();
                Ok((Box::new(stream), Arrival::Unix { uid }))
            }
        }
    }
}

/// Connects to a unix socket, whose path can have any length.
///
/// # Errors
/// If no process listens there.
pub async fn connect_unix(path: impl AsRef<Path>) -> std::io::Result<UnixStream> {
    let place = Place::of(path.as_ref())?;
    UnixStream::connect(place.address()).await
}

/// A name in a directory that is held open, so that its address fits into a `sockaddr_un`
/// however long the path to it is.
#[derive(Debug)]
struct Place {
    directory: OwnedFd,
    name: OsString,
    /// The device and the inode of the socket that was created.
    made: Option<(u64, u64)>,
}

impl Place {
    fn of(path: &Path) -> std::io::Result<Self> {
        let name = path.file_name().ok_or(ErrorKind::InvalidFilename)?;
        let parent = path.parent().filter(|parent| *parent != Path::new(""));
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let parent = parent.unwrap_or(Path::new("."));
        Ok(Self {
            directory: rustix::fs::open(parent, flags, Mode::empty())?,
            name: name.into(),
            made: None,
        })
    }

    fn address(&self) -> PathBuf {
        self.within(&self.name)
    }

    fn within(&self, name: &OsStr) -> PathBuf {
        let directory = format!("/proc/self/fd/{}", self.directory.as_raw_fd());
        Path::new(&directory).join(name)
    }

    /// Returns whether the path is a socket; `None` if it does not exist.
    fn is_socket(&self) -> std::io::Result<Option<bool>> {
        let flags = AtFlags::SYMLINK_NOFOLLOW;
        match rustix::fs::statat(&self.directory, &self.name, flags) {
            Ok(stat) => Ok(Some(
                rustix::fs::FileType::from_raw_mode(stat.st_mode).is_socket(),
            )),
            Err(rustix::io::Errno::NOENT) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Creates the socket in a directory that no other user can enter, and moves it to its place
    /// once its mode is set: other users can never connect.
    fn bind(mut self) -> std::io::Result<(UnixListener, Self)> {
        let mut suffix = [0; 8];
        getrandom::fill(&mut suffix).map_err(Error::other)?;
        let draft = OsString::from(format!(".lastword-{:016x}", u64::from_le_bytes(suffix)));
        rustix::fs::mkdirat(&self.directory, &draft, Mode::RWXU)?;
        let bound = self.bind_in(&draft);
        let gone = rustix::fs::unlinkat(&self.directory, &draft, AtFlags::REMOVEDIR);
        let listener = bound?;
        gone?;
        Ok((listener, self))
    }

    fn bind_in(&mut self, draft: &OsStr) -> std::io::Result<UnixListener> {
        let socket = Path::new(draft).join("s");
        let address = self.within(socket.as_os_str());
        let listener = UnixListener::bind(&address)?;
        let moved =
            std::fs::set_permissions(&address, PermissionsExt::from_mode(0o600)).and_then(|()| {
                let stat = rustix::fs::statat(&self.directory, &socket, AtFlags::empty())?;
                rustix::fs::renameat(&self.directory, &socket, &self.directory, &self.name)?;
                self.made = Some((stat.st_dev, stat.st_ino));
                Ok(())
            });
        if moved.is_err() {
            let _is_reported = rustix::fs::unlinkat(&self.directory, &socket, AtFlags::empty());
        }

        moved.map(|()| listener)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let flags = AtFlags::SYMLINK_NOFOLLOW;
        let stat = rustix::fs::statat(&self.directory, &self.name, flags).ok();
        let found = stat.map(|stat| (stat.st_dev, stat.st_ino));
        // Another server may have replaced the socket meanwhile.
        if self.made.is_some() && self.made == found {
            let _is_gone = rustix::fs::unlinkat(&self.directory, &self.name, AtFlags::empty());
        }
    }
}
