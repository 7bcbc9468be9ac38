//! Following a rental through its host's door, and showing it.

use core::time::Duration;
use std::collections::BTreeMap;

use futures::StreamExt;
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use pouw_agent::End;
use pouw_agent::door::{Client, ClientError, Event, EventKind, Gate, Progress};
use pouw_types::RentalId;
use tokio::time::Instant;

use crate::output::{Accent, Output, bytes, duration};

/// Draws a rental's events: bars on a terminal, lines elsewhere.
#[derive(Debug)]
pub struct Screen {
    output: Output,
    bars: MultiProgress,
    running: BTreeMap<(&'static str, String), ProgressBar>,
    told: BTreeMap<(&'static str, String), u64>,
    started_ms: Option<u64>,
}

/// Between two tries to reach a host again.
const RETRY: Duration = Duration::from_secs(1);

impl Screen {
    /// Draws on stderr.
    #[must_use]
    pub fn new(output: Output) -> Self {
        let bars = MultiProgress::new();
        if !output.is_live() {
            bars.set_draw_target(indicatif::ProgressDrawTarget::hidden());
        }
        let (running, told) = (BTreeMap::new(), BTreeMap::new());
        Self { output, bars, running, told, started_ms: None }
    }

    fn line(&self, text: impl AsRef<str>) {
        if self.output.is_live() {
            // Above the bars, so that they aren't torn.
            let _closed = self.bars.println(text.as_ref());
        } else {
            self.output.note(text);
        }
    }

    /// Shows one event.
    pub fn show(&mut self, event: &Event) {
        let start = *self.started_ms.get_or_insert(event.at_ms);
        let at = event.at_ms.saturating_sub(start);
        let stamp = format!("{:>4}.{} s", at / 1000, at % 1000 / 100);
        let stamp = self.output.paint(Accent::Dim, stamp);
        match &event.kind {
            EventKind::Step { step } => {
                self.clear();
                let step = self.output.paint(Accent::Bold, step.to_string());
                self.line(format!("{stamp}  {step}"));
            }
            EventKind::Progress { what, name, done, total } => {
                self.progress(what, name, *done, *total);
            }
            EventKind::Log { stream, line } => {
                let accent = if stream == "stderr" { Accent::Yellow } else { Accent::Dim };
                self.line(format!("{stamp}  {} {line}", self.output.paint(accent, "│")));
            }
            EventKind::Part(part) => {
                let size = bytes(part.size_bytes);
                self.line(format!("{stamp}  part {} ({size}) is stored", part.path));
            }
            EventKind::Checkpoint(saved) => {
                let (size, at) = (bytes(saved.size_bytes), duration(saved.active_s));
                self.line(format!("{stamp}  checkpoint at {at} ({size}) is stored"));
            }
            EventKind::Notice(notice) => {
                let left_s = notice.ends_at.saturating_sub(event.at_ms / 1000);
                let text = format!("{}, in {}", notice.why, duration(left_s));
                self.line(format!("{stamp}  {}", self.output.paint(Accent::Yellow, text)));
            }
            EventKind::Receipt(meter) => {
                let text = format!("receipt {}: {} s active", meter.seq, meter.active_s);
                self.line(format!("{stamp}  {}", self.output.paint(Accent::Dim, text)));
            }
            EventKind::Gate(gate) => {
                let Gate { score, needed, probe, .. } = gate;
                self.line(format!("{stamp}  gate: {score}, {needed} is needed, {probe}"));
            }
            EventKind::Paused { why } => {
                let paused = self.output.paint(Accent::Yellow, "paused");
                self.line(format!("{stamp}  {paused}, unbilled: {why}"));
            }
            EventKind::Resumed => self.line(format!("{stamp}  goes on")),
            EventKind::Transaction { call, hash } => {
                self.line(format!("{stamp}  host sent {call} {hash}"));
            }
            EventKind::Remark { text } => self.line(format!("{stamp}  {text}")),
            EventKind::Ended { end } => {
                self.clear();
                let accent = if *end == End::Completed { Accent::Green } else { Accent::Red };
                self.line(format!("{stamp}  {}", self.output.paint(accent, end.to_string())));
            }
        }
    }

    fn progress(&mut self, what: &Progress, name: &str, done: u64, total: u64) {
        let kind = match what {
            Progress::Image => "image",
            Progress::Download => "download",
            Progress::Upload => "upload",
            Progress::Parts => "parts",
        };
        let key = (kind, name.to_owned());
        if self.output.is_live() {
            let bars = &self.bars;
            let bar = self.running.entry(key.clone()).or_insert_with(|| {
                let template = if kind == "parts" {
                    "        {msg:<32} {wide_bar} {pos}/{len}"
                } else {
                    "        {msg:<32} {wide_bar} {percent:>3} % of {bytes_total}"
                };
                let bar = bars.add(ProgressBar::new(total));
                bar.set_style(
                    ProgressStyle::with_template(template)
                        .unwrap_or_else(|_| ProgressStyle::default_bar()),
                );
                bar.set_message(format!("{kind} {name}"));
                bar
            });
            bar.set_length(total.max(done));
            bar.set_position(done);
            if total > 0 && done >= total {
                bar.finish_and_clear();
                self.running.remove(&key);
            }
            return;
        }
        // Without a terminal a line a quarter is enough.
        let quarter = done.saturating_mul(4).checked_div(total).unwrap_or(0);
        if self.told.get(&key) != Some(&quarter) {
            let of = if kind == "parts" { format!("{done}/{total}") } else { bytes(total) };
            self.told.insert(key, quarter);
            let percent = done.saturating_mul(100).checked_div(total).unwrap_or(0);
            self.output.note(format!("        {kind} {name}: {percent} % of {of}"));
        }
    }

    fn clear(&mut self) {
        for bar in self.running.values() {
            bar.finish_and_clear();
        }
        self.running.clear();
    }
}

/// Shows everything that happens in a rental until it ended and its results are stored; comes
/// back after a broken connection. Returns why it ended.
///
/// # Errors
/// [`ClientError`] where the host refuses to tell, or does not answer for as long as `patience`.
pub async fn follow(
    door: &Client,
    rental: RentalId,
    patience: Option<Duration>,
    mut on_event: impl FnMut(&Event),
) -> Result<End, ClientError> {
    let mut seen = 0;
    let mut silent_since: Option<Instant> = None;
    let mut stored = false;
    loop {
        let mut lost = None;
        match door.events(rental, seen).await {
            Ok(events) => {
                let mut events = std::pin::pin!(events);
                while let Some(event) = events.next().await {
                    match event {
                        Ok(event) => {
                            silent_since = None;
                            seen = event.id.max(seen);
                            on_event(&event);
                            stored |= matches!(event.kind, EventKind::Step { step } if step >= RESULTS_STORED);
                        }
                        Err(error) => lost = Some(error),
                    }
                    if stored {
                        break;
                    }
                }
            }
            Err(error) => lost = Some(error),
        }
        if let Some(error) = lost {
            let silent = silent_since.get_or_insert_with(Instant::now).elapsed();
            if !error.is_transient() || patience.is_some_and(|patience| silent >= patience) {
                return Err(error);
            }
        }
        if stored
            && let Ok(status) = door.status(rental).await
            && let Some(end) = status.end
        {
            return Ok(end);
        }
        tokio::time::sleep(RETRY).await;
    }
}

/// From this step on everything is uploaded and settled.
const RESULTS_STORED: pouw_agent::Step = pouw_agent::Step::Reset;
