//! A host together with its server. The listeners stay open while streams still have events of the
//! host to send; this file ends both in that order.

use crate::failure::Failure;
use lastword::Host;
use lastword::id::RunId;
use lastword_client::{Client, ServiceTransport};
use lastword_server::{
    Authorizer, ListenError, Listener, ServerOptions, UnixOwner, in_process, router,
};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinHandle;

/// The socket's name in the data directory.
const SOCKET: &str = "socket";
/// How long a client may take to read the end of its stream.
const LEAVE: Duration = Duration::from_secs(5);

/// Returns the path of the socket at which the owner of a data directory listens.
pub(crate) fn socket(data: &Path) -> PathBuf {
    data.join(SOCKET)
}

/// A listener, and the authorizer for its clients.
pub(crate) struct Door {
    pub(crate) listener: Listener,
    pub(crate) authorizer: Arc<dyn Authorizer>,
    pub(crate) options: ServerOptions,
}

impl Door {
    /// Opens a socket in the data directory for the user who owns it: they can already read every
    /// directory that they can name.
    pub(crate) async fn of_owner(socket: &Path) -> Result<Self, ListenError> {
        Ok(Self {
            listener: Listener::unix(socket).await?,
            authorizer: Arc::new(UnixOwner),
            options: ServerOptions {
                roots: vec![PathBuf::from("/")],
                drain: LEAVE,
                ..ServerOptions::default()
            },
        })
    }
}

/// What happens to held prompts of a workspace that is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Held {
    Stays,
    GoesOn,
}

/// A host that is being served.
pub(crate) struct Serving {
    host: Host,
    doors: Vec<JoinHandle<()>>,
    /// The options behind this process's own client, once there is one.
    in_process: Option<ServerOptions>,
}

impl Serving {
    /// Starts serving.
    pub(crate) fn begin(host: &Host, doors: Vec<Door>) -> Self {
        let serve = |door: Door| {
            let host = host.clone();
            tokio::spawn(async move {
                let router = router(host.clone(), door.authorizer, door.options.clone());
                let over = async move { host.drained().await };
                lastword_server::serve(vec![door.listener], router, &door.options, over).await;
                door.options.tasks.close();
                door.options.tasks.wait().await;
            })
        };

        Self {
            doors: doors.into_iter().map(serve).collect(),
            host: host.clone(),
            in_process: None,
        }
    }

    /// The host.
    pub(crate) fn host(&self) -> &Host {
        &self.host
    }

    /// Returns a client for this process. It uses the same API as all clients, but no socket; the
    /// size of its requests is not bounded, since they are in memory already, nor is the number of
    /// its streams, which take no connections.
    pub(crate) fn client(&mut self, held: Held) -> Result<Client, Failure> {
        let options = ServerOptions {
            roots: vec![PathBuf::from("/")],
            body_bytes_max: usize::MAX,
            prompt_bytes_max: usize::MAX,
            agent_bytes_max: usize::MAX,
            streams_max: Some(usize::MAX),
            resume_held: held == Held::GoesOn,
            ..ServerOptions::default()
        };

        let service = in_process(self.host.clone(), options.clone());
        self.in_process = Some(options);
        let client = Client::builder().transport(ServiceTransport(service), "this process");
        Ok(client.build()?)
    }

    /// Ends the runs while streams still report them, then the streams, then the host. Returns the
    /// runs whose end is left to the next start.
    pub(crate) async fn end(self) -> Vec<RunId> {
        self.host.drain().await;
        if let Some(options) = self.in_process {
            options.tasks.close();
            let _dropped = tokio::time::timeout(LEAVE * 3, options.tasks.wait()).await;
        }

        for door in self.doors {
            // Every wait inside is bounded; this bound guards against a mistake there.
            let _dropped = tokio::time::timeout(LEAVE * 3, door).await;
        }

        self.host.shutdown().await
    }
}
