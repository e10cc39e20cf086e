//! Runs applications until their end is asked for, and tells what they are doing.

use std::panic::resume_unwind;
use std::sync::Arc;
use std::time::Duration;

use bps_streams::broker::Broker;
use bps_streams::{Application, Error, Result};

use super::progress::Progress;
use super::{NamedApplication, Watched};
use crate::Shutdown;

/// How often the applications are looked at.
const LOOK: Duration = Duration::from_millis(50);

/// What ended the applications of a process.
#[derive(Debug, thiserror::Error)]
#[error("{}{source}", .topology.map(|name| format!("topology {name}: ")).unwrap_or_default())]
pub struct Failure {
    /// Whose it was, where several ran.
    topology: Option<&'static str>,
    /// What it was.
    source: Error,
}

/// An application that runs.
struct Running {
    name: &'static str,
    /// The same, where it has to be told from others.
    told: Option<&'static str>,
    workers: u32,
    application: Application,
}

/// Runs applications until `shutdown`, or until one of them fails; then all commit what is open.
/// `ready` is called once, when all tasks of all of them have been restored and decide; `observed`
/// when they can be looked at. With `leave` they give up their places in their groups.
///
/// # Errors
/// What ended the one that failed first.
pub fn run(
    broker: &Arc<dyn Broker>,
    applications: Vec<NamedApplication>,
    leave: bool,
    shutdown: &Shutdown,
    observed: impl FnOnce(&[Watched]),
    ready: impl FnOnce(),
) -> std::result::Result<(), Failure> {
    let is_one = applications.len() == 1;
    let mut running = Vec::new();
    for NamedApplication { name, topology, config } in applications {
        let (told, workers) = ((!is_one).then_some(name), config.workers);
        match Application::start(broker.clone(), topology, config) {
            Ok(application) => running.push(Running { name, told, workers, application }),
            Err(source) => {
                // What has begun ends as it would at any other time.
                drop(end(running, leave, None));
                return Err(Failure { topology: told, source });
            }
        }
    }
    let watched = |one: &Running| Watched { name: one.name, observer: one.application.observer() };
    observed(&running.iter().map(watched).collect::<Vec<_>>());
    let first = watch(&running, shutdown, ready);
    end(running, leave, first)
}

/// Looks at them until the end is asked for, or one has ended by itself, whose name it is.
fn watch(running: &[Running], shutdown: &Shutdown, ready: impl FnOnce()) -> Option<&'static str> {
    let mut progress: Vec<_> = running.iter().map(|one| Progress::new(one.told)).collect();
    let mut ready = Some(ready);
    let ended = || running.iter().find(|one| one.application.is_finished());
    let first = loop {
        let first = ended();
        if first.is_some() || shutdown.is_requested() {
            break first;
        }
        std::thread::sleep(LOOK);
        for (one, progress) in running.iter().zip(&mut progress) {
            progress.look(&one.application.status().workers);
        }
        let mut each = running.iter().zip(&progress);
        if ready.is_some()
            && each.all(|(one, progress)| progress.is_ready(one.workers))
            && let Some(ready) = ready.take()
        {
            ready();
        }
    };
    progress.iter().for_each(Progress::tell_end);
    first.map(|one| one.name)
}

/// Ends all at the same time: what each has open is committed while the others wait for their
/// brokers. The outcome is that of the `first` to end, else the first that is none.
fn end(
    running: Vec<Running>,
    leave: bool,
    first: Option<&'static str>,
) -> std::result::Result<(), Failure> {
    let end = |application: Application| match leave {
        true => application.leave(),
        false => application.stop(),
    };
    let joined: Vec<_> = std::thread::scope(|scope| {
        let begin = |one: Running| {
            let Running { name, told, application, .. } = one;
            (name, told, scope.spawn(move || end(application)))
        };
        let ending: Vec<_> = running.into_iter().map(begin).collect();
        ending.into_iter().map(|(name, told, thread)| (name, told, thread.join())).collect()
    });
    let outcome = |(name, told, joined): (_, _, std::thread::Result<Result<()>>)| {
        (name, told, joined.unwrap_or_else(|panic| resume_unwind(panic)))
    };
    let mut failure = None;
    for (name, topology, outcome) in joined.into_iter().map(outcome) {
        let Err(source) = outcome else {
            continue;
        };
        let is_first = first == Some(name);
        if failure.is_none() || is_first {
            let former = failure.replace(Failure { topology, source });
            former.iter().for_each(tell);
        } else {
            tell(&Failure { topology, source });
        }
    }
    failure.map_or(Ok(()), Err)
}

/// One that failed too: the last word of the program is of another one.
fn tell(failure: &Failure) {
    tracing::error!("{failure}");
}
