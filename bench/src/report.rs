//! The figures, kept as JSON, and the table that people read.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::{Path, PathBuf};

use bps_service::exit::AnyError;
use serde::{Deserialize, Serialize};

use crate::contender::Contender;
use crate::measured::Spread;
use crate::workload::Workload;
use crate::{backlog, due, embedded, http, latency, plots, recovery, throughput};

/// Where the figures are kept.
const FIGURES: &str = "figures.json";

/// All figures, and the machine that they are of.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Figures {
    machine: String,
    date: String,
    throughput: Vec<throughput::Result>,
    latency: Vec<latency::Result>,
    recovery: Vec<recovery::Result>,
    http: Vec<http::Result>,
    embedded: Vec<embedded::Result>,
    #[serde(default)]
    due: Vec<due::Result>,
    backlog: Option<backlog::Result>,
}

impl Figures {
    /// Takes over what was measured before.
    fn go_on(self, former: Figures) -> Result<Figures, AnyError> {
        if former.machine != self.machine {
            let (there, here) = (former.machine, self.machine);
            let detail = format!("the figures are of another machine, {there}, and this is {here}");
            return Err((detail + ": take another folder").into());
        }
        // Parts of several days are told as such.
        let since = former.date.split(" to ").next().unwrap_or_default();
        let date = if since == self.date { self.date } else { format!("{since} to {}", self.date) };
        Ok(Figures { date, ..former })
    }
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Report {
    folder: Option<PathBuf>,
    figures: Figures,
}

impl Report {
    /// Begins anew where `all` is measured. Else it goes on with the figures that a folder holds, and
    /// a part that is measured again replaces its own. A folder that is not there is made.
    ///
    /// # Errors
    /// When the folder cannot be made or read, or holds something else or figures of another machine.
    pub(crate) fn open(folder: Option<&Path>, all: bool) -> Result<Report, AnyError> {
        folder.map_or(Ok(()), std::fs::create_dir_all)?;
        let text = folder.and_then(|folder| std::fs::read_to_string(folder.join(FIGURES)).ok());
        let (machine, date) = (machine(), jiff::Zoned::now().date().to_string());
        let fresh = Figures { machine, date, ..Figures::default() };
        let figures = match text.filter(|_| !all) {
            Some(text) => fresh.go_on(serde_json::from_str(&text)?)?,
            None => fresh,
        };
        Ok(Report { folder: folder.map(Path::to_owned), figures })
    }

    /// Takes what was decided how fast.
    ///
    /// # Errors
    /// When it cannot be kept.
    pub(crate) fn throughput(&mut self, results: Vec<throughput::Result>) -> Result<(), AnyError> {
        replace(&mut self.figures.throughput, results, |r| r.heat);
        self.save()
    }

    /// Takes what came how late.
    ///
    /// # Errors
    /// When it cannot be kept.
    pub(crate) fn latency(&mut self, results: Vec<latency::Result>) -> Result<(), AnyError> {
        replace(&mut self.figures.latency, results, |r| (r.who, r.rate));
        self.save()
    }

    /// Takes who came back how soon.
    ///
    /// # Errors
    /// When it cannot be kept.
    pub(crate) fn recovery(&mut self, results: Vec<recovery::Result>) -> Result<(), AnyError> {
        replace(&mut self.figures.recovery, results, |r| r.who);
        self.save()
    }

    /// Takes what was answered over HTTP.
    ///
    /// # Errors
    /// When it cannot be kept.
    pub(crate) fn http(&mut self, results: Vec<http::Result>) -> Result<(), AnyError> {
        self.figures.http = results;
        self.save()
    }

    /// Takes what was decided on the embedded log.
    ///
    /// # Errors
    /// When it cannot be kept.
    pub(crate) fn embedded(&mut self, results: Vec<embedded::Result>) -> Result<(), AnyError> {
        self.figures.embedded = results;
        self.save()
    }

    /// Takes how late rows fell due.
    ///
    /// # Errors
    /// When it cannot be kept.
    pub(crate) fn due(&mut self, results: Vec<due::Result>) -> Result<(), AnyError> {
        self.figures.due = results;
        self.save()
    }

    /// Takes how the long backlog went.
    ///
    /// # Errors
    /// When it cannot be kept.
    pub(crate) fn backlog(&mut self, result: backlog::Result) -> Result<(), AnyError> {
        self.figures.backlog = Some(result);
        self.save()
    }

    fn save(&self) -> Result<(), AnyError> {
        let Some(folder) = &self.folder else {
            return Ok(());
        };
        let figures = &self.figures;
        std::fs::write(folder.join(FIGURES), serde_json::to_string_pretty(figures)? + "\n")?;
        plots::throughput(&folder.join("throughput.svg"), &figures.throughput)?;
        plots::latency(&folder.join("latency.svg"), &figures.latency)
    }

    /// The table, in Markdown.
    pub(crate) fn table(&self) -> String {
        let mut text = format!("{}, {}\n", self.figures.machine, self.figures.date);
        // Writing to a String cannot fail.
        let _ = self.write_throughput(&mut text);
        let _ = self.write_scaling(&mut text);
        let _ = self.write_latency(&mut text);
        let _ = self.write_recovery(&mut text);
        let _ = self.write_http(&mut text);
        let _ = self.write_embedded(&mut text);
        let _ = self.write_due(&mut text);
        let _ = self.write_backlog(&mut text);
        text
    }

    fn write_throughput(&self, text: &mut String) -> std::fmt::Result {
        let mut workloads: BTreeMap<Workload, Vec<&throughput::Result>> = BTreeMap::new();
        for result in self.figures.throughput.iter().filter(|r| r.is_standard()) {
            workloads.entry(result.heat.workload).or_default().push(result);
        }
        for (workload, mut results) in workloads {
            results.sort_by_key(|r| r.heat.who);
            let of = |who: Contender| {
                let found = results.iter().find(|r| r.heat.who == who);
                found.map(|r| r.records_per_s.median)
            };
            writeln!(
                text,
                "\n| {} | records/s | CPU us | broker CPU us | peak MiB | ours is |\n\
                 |---|---|---|---|---|---|",
                workload.title()
            )?;
            for r in &results {
                let ratio = of(Contender::Ours).map(|ours| ours / r.records_per_s.median);
                writeln!(
                    text,
                    "| {} | {} | {} | {} | {} | {} |",
                    r.heat.who.title(),
                    spread(r.records_per_s, 0),
                    spread(r.cpu_us, 1),
                    spread(r.broker_cpu_us, 1),
                    spread(r.memory_mib, 0),
                    ratio.map_or(String::new(), |ratio| format!("{ratio:.2} x")),
                )?;
            }
        }
        Ok(())
    }

    fn write_scaling(&self, text: &mut String) -> std::fmt::Result {
        let mut results: Vec<_> = self
            .figures
            .throughput
            .iter()
            .filter(|r| r.heat.who == Contender::Ours && r.heat.workload == Workload::Year)
            .collect();
        if results.iter().all(|r| r.is_standard()) {
            return Ok(());
        }
        results.sort_by_key(|r| (r.heat.partitions, r.heat.workers));
        writeln!(
            text,
            "\n| the grocer's year: workers | partitions | records/s | CPU us | peak MiB |\n\
             |---|---|---|---|---|"
        )?;
        for r in results {
            writeln!(
                text,
                "| {} | {} | {} | {} | {} |",
                r.heat.workers,
                r.heat.partitions,
                spread(r.records_per_s, 0),
                spread(r.cpu_us, 1),
                spread(r.memory_mib, 0),
            )?;
        }
        Ok(())
    }

    fn write_latency(&self, text: &mut String) -> std::fmt::Result {
        if self.figures.latency.is_empty() {
            return Ok(());
        }
        writeln!(
            text,
            "\n| created to committed, ms | a second | p50 | p90 | p99 | p99.9 |\n\
             |---|---|---|---|---|---|"
        )?;
        for r in &self.figures.latency {
            let figures = [r.p50, r.p90, r.p99, r.p999].map(|s| spread(s, 1));
            let [p50, p90, p99, p999] = figures;
            let who = r.who.title();
            writeln!(text, "| {who} | {} | {p50} | {p90} | {p99} | {p999} |", r.rate)?;
        }
        Ok(())
    }

    fn write_recovery(&self, text: &mut String) -> std::fmt::Result {
        if self.figures.recovery.is_empty() {
            return Ok(());
        }
        writeln!(
            text,
            "\n| 1M items, s | kill -9, restart: first result | all partitions | taken over by \
             another | empty disk | rows/s a thread |\n|---|---|---|---|---|---|"
        )?;
        for r in &self.figures.recovery {
            let times = [r.restart_first, r.restart_all, r.takeover, r.restore];
            let [first, all, takeover, restore] = times.map(|s| spread(s, 1));
            let rows = r.rows_per_s.map_or(String::new(), |rows| spread(rows, 0));
            let who = r.who.title();
            writeln!(text, "| {who} | {first} | {all} | {takeover} | {restore} | {rows} |")?;
        }
        Ok(())
    }

    fn write_http(&self, text: &mut String) -> std::fmt::Result {
        if self.figures.http.is_empty() {
            return Ok(());
        }
        writeln!(
            text,
            "\n| purchases over HTTP | asked a second | answered a second | p50 ms | p99 ms |\n\
             |---|---|---|---|---|"
        )?;
        for r in &self.figures.http {
            let on = match r.on {
                http::On::Embedded => "`bps up`",
                http::On::Kafka => "on Kafka",
            };
            let rate = r.rate.map_or("flat out".to_owned(), |rate| rate.to_string());
            let answered = spread(r.answered_per_s, 0);
            let (p50, p99) = (spread(r.p50, 1), spread(r.p99, 1));
            writeln!(text, "| {on} | {rate} | {answered} | {p50} | {p99} |")?;
        }
        Ok(())
    }

    fn write_embedded(&self, text: &mut String) -> std::fmt::Result {
        if self.figures.embedded.is_empty() {
            return Ok(());
        }
        writeln!(text, "\n| embedded log: workers | records/s |\n|---|---|")?;
        for r in &self.figures.embedded {
            writeln!(text, "| {} | {} |", r.workers, spread(r.records_per_s, 0))?;
        }
        Ok(())
    }

    fn write_due(&self, text: &mut String) -> std::fmt::Result {
        if self.figures.due.is_empty() {
            return Ok(());
        }
        writeln!(
            text,
            "\n| rows that fall due | late, quiet partition: p50 ms | p99 ms | a million at once: \
             rows/s | a record behind them, ms | beside them: p99 ms |\n|---|---|---|---|---|---|"
        )?;
        for r in &self.figures.due {
            let late = [r.quiet_p50, r.quiet_p99, r.beside_p99].map(|s| spread(s, 1));
            let [p50, p99, beside] = late;
            let (rate, behind) = (spread(r.crowd_per_s, 0), spread(r.behind_max, 0));
            let on = match r.on {
                http::On::Embedded => "embedded",
                http::On::Kafka => "on Kafka",
            };
            writeln!(text, "| {on} | {p50} | {p99} | {rate} | {behind} | {beside} |")?;
        }
        Ok(())
    }

    fn write_backlog(&self, text: &mut String) -> std::fmt::Result {
        let Some(r) = self.figures.backlog else {
            return Ok(());
        };
        let [first, last] = r.first_and_last.map(thousands);
        let [early, most] = r.memory_mib.map(thousands);
        writeln!(
            text,
            "\n| a backlog of | records/s | an early million | the last | MiB after a tenth | then \
             at most |\n|---|---|---|---|---|---|\n| {} records | {} | {first} | {last} | {early} | \
             {most} |",
            thousands(r.records as f64),
            thousands(r.records_per_s),
        )
    }
}

/// Results take the place of former ones of the same.
fn replace<R, K: PartialEq>(all: &mut Vec<R>, results: Vec<R>, of: impl Fn(&R) -> K) {
    all.retain(|old| results.iter().all(|new| of(new) != of(old)));
    all.extend(results);
}

/// The median, and in brackets the lowest and the highest where they differ.
fn spread(s: Spread, digits: usize) -> String {
    let number = |n: f64| match digits {
        0 => thousands(n),
        _ => format!("{n:.digits$}"),
    };
    match s.min == s.max {
        true => number(s.median),
        false => format!("{} ({}-{})", number(s.median), number(s.min), number(s.max)),
    }
}

fn thousands(n: f64) -> String {
    let digits = (n.round() as u64).to_string();
    let grouped = digits.as_bytes().rchunks(3).rev().map(String::from_utf8_lossy);
    grouped.collect::<Vec<_>>().join(",")
}

/// Processor, cores and memory, as Linux tells them.
fn machine() -> String {
    let line = |file: &str, name: &str| {
        let text = std::fs::read_to_string(file).unwrap_or_default();
        let found = text.lines().find_map(|line| line.strip_prefix(name));
        found.map_or("?", |rest| rest.trim_start_matches([' ', '\t', ':'])).to_owned()
    };
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let (cpu, memory) = (line("/proc/cpuinfo", "model name"), line("/proc/meminfo", "MemTotal"));
    format!("{cpu}, {cores} cores, {memory}")
}
