//! The terminal: taken and given back, whatever happens; its keys; and looks at the process
//! meanwhile, one at a time.

use std::io;
use std::pin::Pin;
use std::time::Duration;

use ratatui::DefaultTerminal;
use ratatui::crossterm::event::{self, Event};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until, timeout};

use super::super::CommandFailed;
use super::super::client::AdminClient;
use super::draw::draw;
use super::look::Look;
use super::screen::{Lost, Screen, Wish};
use super::shown::{Shown, harmless};
use crate::config::reason;
use crate::fault_injection;

/// Between a look that has none before it and the next one: the first rates.
const FIRST: Duration = Duration::from_secs(1);
/// For a whole look.
const WITHIN: Duration = Duration::from_secs(15);
/// The longest pause between two looks at a process that is not there.
const GONE: Duration = Duration::from_secs(5);
/// The same at one that refuses, or takes long to answer.
const LONGEST: Duration = Duration::from_secs(60);
/// A pause is at least so many times what the look before took.
const SHARE: u32 = 4;
/// Between two drawings without anything new: what is told ages.
const TICK: Duration = Duration::from_secs(1);
/// Keys that wait.
const KEYS: usize = 64;

/// The terminal, given back when this is dropped; ratatui's hook does so before a panic is told.
struct Taken(DefaultTerminal);

impl Taken {
    fn take() -> io::Result<Taken> {
        match ratatui::try_init() {
            Ok(terminal) => Ok(Taken(terminal)),
            Err(error) => {
                ratatui::restore();
                Err(error)
            }
        }
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        ratatui::restore();
    }
}

/// What the terminal says, read by a thread that ends with the process.
fn keys() -> io::Result<mpsc::Receiver<Event>> {
    let (say, keys) = mpsc::channel(KEYS);
    std::thread::Builder::new()
        .name("keys".into())
        .spawn(move || {
            while let Ok(event) = event::read() {
                if say.blocking_send(event).is_err() {
                    return;
                }
            }
        })?;
    Ok(keys)
}

fn broken(error: &io::Error) -> CommandFailed {
    CommandFailed::new(format!("the terminal cannot be used: {}", reason(error)))
}

async fn look(client: &AdminClient) -> Result<Look, CommandFailed> {
    timeout(WITHIN, Look::at(client))
        .await
        .unwrap_or_else(|_| Err(CommandFailed::new(format!("no answer within {WITHIN:?}"))))
}

type Asking<'a> = Pin<Box<dyn Future<Output = Result<Look, CommandFailed>> + 'a>>;

/// What is asked, and when next.
struct Asks<'a> {
    client: &'a AdminClient,
    interval: Duration,
    last: Look,
    asking: Option<Asking<'a>>,
    began: Instant,
    next: Instant,
    refusals: u32,
    /// When there was no answer for the first time.
    lost: Option<Instant>,
}

impl Asks<'_> {
    /// Waits until there is an answer, having asked when it is time.
    async fn answer(&mut self) -> Result<Look, CommandFailed> {
        if self.asking.is_none() {
            sleep_until(self.next).await;
            self.began = Instant::now();
        }
        let client = self.client;
        let asking = self.asking.get_or_insert_with(|| Box::pin(look(client)));
        let answer = asking.await;
        self.asking = None;
        answer
    }

    fn take(&mut self, answer: Result<Look, CommandFailed>, screen: &mut Screen) {
        let now = Instant::now();
        let took = now.duration_since(self.began);
        let pause = match answer {
            Ok(look) => {
                screen.shown = Shown::of(&look, Some(&self.last));
                screen.lost = None;
                (self.last, self.lost, self.refusals) = (look, None, 0);
                match screen.shown.process.seconds {
                    Some(_) => self.interval,
                    None => self.interval.min(FIRST),
                }
            }
            Err(failure) => {
                self.lost.get_or_insert(now);
                screen.lost.get_or_insert_with(|| Lost {
                    since: jiff::Zoned::now().strftime("%H:%M:%S").to_string(),
                    seconds: 0,
                    why: String::new(),
                });
                if let Some(lost) = &mut screen.lost {
                    let why = failure.to_string();
                    let first = why.lines().next().unwrap_or_default();
                    lost.why = harmless(first.trim_start_matches("error: "));
                }
                if failure.is_refusal {
                    // Who shows a wrong token again and again is locked out.
                    self.refusals = (self.refusals + 1).min(8);
                    self.interval * 2_u32.pow(self.refusals + 1)
                } else {
                    self.interval.min(GONE)
                }
            }
        };
        self.next = now + pause.max(took * SHARE).min(LONGEST);
    }

    fn age(&self, screen: &mut Screen) {
        screen.age = self.last.at.elapsed().as_secs();
        if let (Some(lost), Some(since)) = (&mut screen.lost, self.lost) {
            lost.seconds = since.elapsed().as_secs();
        }
    }
}

/// Shows what the process does until somebody leaves.
#[allow(clippy::disallowed_methods, reason = "a tick ends each wait")]
pub(super) async fn watch(
    client: &AdminClient,
    interval: Duration,
    first: Look,
) -> Result<String, CommandFailed> {
    let broken = |error| broken(&error);
    let [mut terminate, mut interrupt, mut hang_up] = [
        SignalKind::terminate(),
        SignalKind::interrupt(),
        SignalKind::hangup(),
    ]
    .map(signal);
    let has_colours = anstream::AutoStream::choice(&io::stdout()) != anstream::ColorChoice::Never;
    let mut taken = Taken::take().map_err(broken)?;
    let terminal = &mut taken.0;
    let mut keys = keys().map_err(broken)?;
    let size = terminal.size().map_err(broken)?;
    let size = (size.width, size.height);
    let mut screen = Screen::new(Shown::of(&first, None), has_colours, size);
    let now = Instant::now();
    let mut asks = Asks {
        client,
        interval,
        last: first,
        asking: None,
        began: now,
        next: now + interval.min(FIRST),
        refusals: 0,
        lost: None,
    };
    let mut ticks = tokio::time::interval(TICK);
    loop {
        asks.age(&mut screen);
        terminal
            .draw(|frame| draw(&screen, frame.area(), frame.buffer_mut()))
            .map_err(broken)?;
        fault_injection::panics("top");
        tokio::select! {
            event = keys.recv() => {
                // What has come meanwhile is drawn with it.
                let mut event = event;
                loop {
                    match event {
                        // The terminal has gone.
                        None => return Ok(String::new()),
                        Some(event) => match told(event, &mut screen) {
                            Wish::Nothing => {}
                            Wish::Leave => return Ok(String::new()),
                            Wish::Look => asks.next = Instant::now(),
                        },
                    }
                    match keys.try_recv() {
                        Ok(more) => event = Some(more),
                        Err(_) => break,
                    }
                }
                if screen.is_paused {
                    asks.asking = None;
                }
            }
            () = heard(&mut terminate) => return Ok(String::new()),
            () = heard(&mut interrupt) => return Ok(String::new()),
            () = heard(&mut hang_up) => return Ok(String::new()),
            answer = asks.answer(), if !screen.is_paused => asks.take(answer, &mut screen),
            _ = ticks.tick() => {}
        }
    }
}

fn told(event: Event, screen: &mut Screen) -> Wish {
    match event {
        Event::Key(key) => screen.press(key),
        Event::Resize(columns, lines) => {
            screen.size = (columns, lines);
            Wish::Nothing
        }
        _ => Wish::Nothing,
    }
}

/// Waits for a signal; for ever where it cannot be waited for.
async fn heard(signal: &mut io::Result<Signal>) {
    match signal {
        Ok(signal) => {
            signal.recv().await;
        }
        Err(_) => std::future::pending().await,
    }
}
