//! The standard streams of a server that is a program: a message a line. A line that cannot be
//! read fails the call that it answers, and the next one is read. Knows no process.

use super::decode::{Decoder, MESSAGE_MAX, Received, Sent};
use super::skim::Skim;
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

/// How long a server has to say whether it knows the newer protocol, before it is asked by the
/// older one too.
#[derive(Clone)]
pub(super) struct Window {
    pub(super) clock: Arc<dyn Clock>,
    pub(super) length: Duration,
}

impl Window {
    /// Completes once it is over.
    pub(super) fn over(&self) -> BoxFuture<'static, ()> {
        self.clock.sleep(self.length)
    }
}

/// A server's stdout and stdin.
pub(super) struct Lines<R, W: AsyncWrite> {
    reader: Reader<R>,
    /// Written to by the library's own transport, which is never cut within a message.
    writer: AsyncRwTransport<RoleClient, Empty, W>,
    decoder: Arc<Decoder>,
    received: VecDeque<Received>,
    window: Option<Window>,
    probe: Option<(RequestId, BoxFuture<'static, ()>)>,
}

struct Reader<R> {
    input: BufReader<R>,
    line: Vec<u8>,
    /// Of a line that is too long, what is kept of it.
    long: Option<Skim>,
    ended: bool,
}

/// One line.
enum Line {
    Whole,
    TooLong(Skim),
}

impl<R, W> Lines<R, W>
where
    R: AsyncRead + Send + Unpin,
    W: AsyncWrite + Send + Unpin + 'static,
{
    pub(super) fn new(stdout: R, stdin: W, decoder: Arc<Decoder>, window: Option<Window>) -> Self {
        Self {
            reader: Reader {
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
            Some(Line::TooLong(skim)) => {
                let why = format!("it is longer than {MESSAGE_MAX} bytes");
                let failed = self.decoder.unreadable(&skim, None, &why);
                self.received.extend(failed);
            }
            None => {}
        }
    }
}

impl<R: AsyncRead + Unpin> Reader<R> {
    /// The next line, in `line`; `None` at the end. Dropping the future loses nothing.
    async fn next(&mut self) -> Option<Line> {
        while !self.ended {
            let available = self.input.fill_buf().await.unwrap_or_default();
            self.ended = available.is_empty();

            let end = available.iter().position(|byte| *byte == b'\n');
            let taken = end.map_or(available.len(), |end| end + 1);
            let piece = &available[..taken];

            match &mut self.long {
                Some(skim) => skim.feed(piece),
                None => {
                    self.line.extend_from_slice(piece);
                    if self.line.len() > MESSAGE_MAX {
                        let mut skim = Skim::default();
                        skim.feed(&self.line);
                        self.line = Vec::new();
                        self.long = Some(skim);
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

impl<R, W> Transport<RoleClient> for Lines<R, W>
where
    R: AsyncRead + Send + Unpin,
    W: AsyncWrite + Send + Unpin + 'static,
{
    type Error = io::Error;

    fn send(&mut self, item: Sent) -> impl Future<Output = io::Result<()>> + Send + 'static {
        self.decoder.sent(&item);
        if let (Some(window), JsonRpcMessage::Request(request)) = (&self.window, &item)
            && matches!(request.request, ClientRequest::DiscoverRequest(_))
        {
            self.probe = Some((request.id.clone(), window.over()));
        }
        self.writer.send(item)
    }

    async fn receive(&mut self) -> Option<Received> {
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
