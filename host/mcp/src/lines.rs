//! The standard streams of a server that is a program: one message per line. A line that cannot be
//! read fails the call that it responds to, and the next one is read.

use super::decode::{ClientMessage, Decoder, MESSAGE_MAX, ServerMessage};
use super::message_scan::MessageScan;
use futures_util::future::BoxFuture;
use lastword_types::clock::Clock;
use rmcp::model::{ClientRequest, JsonRpcMessage, RequestId};
use rmcp::service::RoleClient;
use rmcp::transport::Transport;
use rmcp::transport::async_rw::AsyncRwTransport;
use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncWrite, BufReader, Empty};

/// The time within which a server has to respond to the probe for the newer protocol, before it is
/// asked by the older one as well.
#[derive(Clone)]
pub(super) struct ProbeWindow {
    pub(super) clock: Arc<dyn Clock>,
    pub(super) length: Duration,
}

impl ProbeWindow {
    /// Completes once the time is over.
    pub(super) fn expired(&self) -> BoxFuture<'static, ()> {
        self.clock.sleep(self.length)
    }
}

/// A server's stdout and stdin.
pub(super) struct LineTransport<R, W: AsyncWrite> {
    reader: LineReader<R>,
    /// Written through `rmcp`'s own transport, which is never cancelled within a message.
    writer: AsyncRwTransport<RoleClient, Empty, W>,
    decoder: Arc<Decoder>,
    received: VecDeque<ServerMessage>,
    window: Option<ProbeWindow>,
    probe: Option<(RequestId, BoxFuture<'static, ()>)>,
}

struct LineReader<R> {
    input: BufReader<R>,
    line: Vec<u8>,
    /// The prefix of a line that is too long.
    long: Option<MessageScan>,
    ended: bool,
}

/// One line of output.
enum Line {
    Whole,
    TooLong(MessageScan),
}

impl<R, W> LineTransport<R, W>
where
    R: AsyncRead + Send + Unpin,
    W: AsyncWrite + Send + Unpin + 'static,
{
    pub(super) fn new(
        stdout: R,
        stdin: W,
        decoder: Arc<Decoder>,
        window: Option<ProbeWindow>,
    ) -> Self {
        Self {
            reader: LineReader {
                input: BufReader::new(stdout),
                line: Vec::new(),
                long: None,
                ended: false,
            },
            writer: AsyncRwTransport::new_client(tokio::io::empty(), stdin),
            decoder,
            received: VecDeque::new(),
            window,
            probe: None,
        }
    }

    fn take(&mut self, line: Option<Line>) {
        match line {
            Some(Line::Whole) => {
                let messages = self.decoder.decode(&self.reader.line, None);
                self.received.extend(messages);
                self.reader.line.clear();
            }
            Some(Line::TooLong(scan)) => {
                let why = format!("it is longer than {MESSAGE_MAX} bytes");
                let failed = self.decoder.unreadable(&scan, None, &why);
                self.received.extend(failed);
            }
            None => {}
        }
    }
}

impl<R: AsyncRead + Unpin> LineReader<R> {
    /// Reads the next line into `line`; `None` at the end. Dropping the future loses nothing.
    async fn next(&mut self) -> Option<Line> {
        while !self.ended {
            let available = self.input.fill_buf().await.unwrap_or_default();
            self.ended = available.is_empty();

            let end = available.iter().position(|byte| *byte == b'\n');
            let taken = end.map_or(available.len(), |end| end + 1);
            let piece = &available[..taken];

            match &mut self.long {
                Some(scan) => scan.feed(piece),
                None => {
                    self.line.extend_from_slice(piece);
                    if self.line.len() > MESSAGE_MAX {
                        let mut scan = MessageScan::default();
                        scan.feed(&self.line);
                        self.line = Vec::new();
                        self.long = Some(scan);
                    }
                }
            }

            self.input.consume(taken);

            if end.is_some() || self.ended {
                return Some(self.long.take().map_or(Line::Whole, Line::TooLong));
            }
        }

        None
    }
}

impl<R, W> Transport<RoleClient> for LineTransport<R, W>
where
    R: AsyncRead + Send + Unpin,
    W: AsyncWrite + Send + Unpin + 'static,
{
    type Error = io::Error;

    fn send(
        &mut self,
        item: ClientMessage,
    ) -> impl Future<Output = io::Result<()>> + Send + 'static {
        self.decoder.register(&item);
        if let (Some(window), JsonRpcMessage::Request(request)) = (&self.window, &item)
            && matches!(request.request, ClientRequest::DiscoverRequest(_))
        {
            self.probe = Some((request.id.clone(), window.expired()));
        }
        self.writer.send(item)
    }

    async fn receive(&mut self) -> Option<ServerMessage> {
        while self.received.is_empty() && !self.reader.ended {
            let probe = self.probe.take();
            self.probe = probe.filter(|(id, _)| self.decoder.is_pending(id));

            let silent = async {
                match &mut self.probe {
                    Some((_, over)) => over.await,
                    None => std::future::pending().await,
                }
            };

            tokio::select! {
                biased;
                line = self.reader.next() => self.take(line),
                () = silent => {
                    let probe = self.probe.take();
                    return probe.map(|(id, _)| self.decoder.give_up_probe(id));
                }
            }
        }

        self.received.pop_front()
    }

    async fn close(&mut self) -> io::Result<()> {
        self.writer.close().await
    }
}
