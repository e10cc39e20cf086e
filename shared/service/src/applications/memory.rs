//! Memory of all applications of a process: one total, of which each has a share.
//!
//! What is shared out are the bounds that an application is told: of the store, and of each worker what
//! is fetched and not processed, and the rows of a transaction. Each application has its least, and
//! what is left goes to them as the usual shares do: the first has what it takes alone, and any other
//! half as much or less.

use bps_streams::ApplicationConfig;

use crate::settings::{SettingsError, Size};

/// What each further topology takes unless set; more only where it has so many workers that it could
/// not work with it (bytes).
const FURTHER: u64 = 64 << 20;
/// An application works with such a part of what it takes alone; the rows of a service's read side
/// live with as much.
const LEAST_PART: u64 = 8;
/// More would be a slip of the finger.
const MOST: Size = Size(16 << 40);

/// What an application of so many workers takes when it is alone (bytes).
fn alone(workers: u32) -> u64 {
    let ApplicationConfig { worker, memory, .. } = ApplicationConfig::new("");
    let of_worker = worker.queue_bytes_max + worker.commit.bytes_max;
    let of_store = memory.block_cache_bytes + memory.write_buffer_bytes;
    of_store as u64 + u64::from(workers) * of_worker as u64
}

/// What it cannot do without.
fn least(workers: u32) -> u64 {
    alone(workers).div_ceil(LEAST_PART)
}

/// What each of those with so many workers takes, unless set.
fn usual(workers: &[u32]) -> Vec<u64> {
    let of = |(index, workers): (usize, &u32)| match index {
        0 => alone(*workers),
        _ => FURTHER.max(least(*workers)),
    };
    workers.iter().enumerate().map(of).collect()
}

/// The total, for applications with so many workers.
///
/// # Errors
/// When it is too little for them, or a slip of the finger.
pub(super) fn total(told: Option<Size>, workers: &[u32]) -> Result<Size, SettingsError> {
    let total = told.unwrap_or_else(|| Size(usual(workers).iter().sum()));
    let least = Size(workers.iter().map(|workers| least(*workers)).sum());
    if total < least {
        let cause = format!("{total} is too little: {least} is the least that works");
        return Err(SettingsError::new("memory", cause));
    }
    if total > MOST {
        return Err(SettingsError::new("memory", format!("{total} is more than {MOST}")));
    }
    Ok(total)
}

/// The share of each application (bytes).
pub(super) fn shares(total: Size, workers: &[u32]) -> Vec<u64> {
    let least: Vec<u64> = workers.iter().map(|workers| least(*workers)).collect();
    let more = |(usual, least): (u64, &u64)| usual - least;
    let weights: Vec<u64> = usual(workers).into_iter().zip(&least).map(more).collect();
    let rest = total.0.saturating_sub(least.iter().sum());
    let all = weights.iter().sum();
    least.iter().zip(weights).map(|(least, weight)| least + part(rest, weight, all)).collect()
}

/// Bounds an application by its share.
pub(super) fn bound(config: &mut ApplicationConfig, share: u64) {
    let alone = alone(config.workers);
    let scaled = |bytes: usize, by: u64, of: u64| part(bytes as u64, by, of) as usize;
    let worker = &mut config.worker;
    // With more a worker would only fetch further ahead, and commit later.
    for bytes in [&mut worker.queue_bytes_max, &mut worker.commit.bytes_max] {
        *bytes = scaled(*bytes, share.min(alone), alone);
    }
    let of_worker = (worker.queue_bytes_max + worker.commit.bytes_max) as u64;
    let of_store = share.saturating_sub(u64::from(config.workers) * of_worker);
    let memory = &mut config.memory;
    let both = (memory.block_cache_bytes + memory.write_buffer_bytes) as u64;
    for bytes in [&mut memory.block_cache_bytes, &mut memory.write_buffer_bytes] {
        *bytes = scaled(*bytes, of_store, both);
    }
}

/// `bytes * by / of`, which is no more than fits.
fn part(bytes: u64, by: u64, of: u64) -> u64 {
    (u128::from(bytes) * u128::from(by) / u128::from(of)) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    /// Bounds of each application, in MiB: block cache, write buffers, queues and rows of a worker.
    fn bounds(told: Option<u64>, workers: &[u32]) -> Vec<[u64; 4]> {
        let total = total(told.map(|mib| Size(mib * MIB)), workers).expect("enough");
        let shares = shares(total, workers);
        let sum: u64 = shares.iter().sum();
        assert!(sum <= total.0 && total.0 - sum < 8, "{sum} of {total}");
        let of = |(workers, share): (&u32, u64)| {
            let mut config = ApplicationConfig::new("");
            config.workers = *workers;
            bound(&mut config, share);
            let ApplicationConfig { worker, memory, .. } = config;
            let store = [memory.block_cache_bytes, memory.write_buffer_bytes];
            let worker = [worker.queue_bytes_max, worker.commit.bytes_max];
            let taken =
                store.iter().sum::<usize>() + *workers as usize * worker.iter().sum::<usize>();
            assert!(taken as u64 <= share, "{taken} of {share}");
            [store[0], store[1], worker[0], worker[1]].map(|bytes| bytes as u64 / MIB)
        };
        workers.iter().zip(shares).map(of).collect()
    }

    #[test]
    fn one_takes_what_it_always_took_and_each_further_one_64_mib() {
        for workers in [1, 2, 4] {
            assert_eq!(bounds(None, &[workers]), [[32, 48, 16, 32]], "{workers} workers");
        }
        assert_eq!(bounds(None, &[2, 1]), [[32, 48, 16, 32], [16, 24, 8, 16]]);
        let of = |workers: &[u32]| total(None, workers).expect("enough").0 / MIB;
        assert_eq!((of(&[2]), of(&[2, 1]), of(&[2, 1, 1, 1])), (176, 240, 368));
        // So many workers could not work with it.
        assert_eq!(of(&[2, 20]), 176 + 130);
    }

    #[test]
    fn a_total_is_shared_out() {
        assert_eq!(bounds(Some(22), &[2]), [[4, 6, 2, 4]]);
        assert_eq!(bounds(Some(88), &[2]), [[16, 24, 8, 16]]);
        // What is beyond that is the store's.
        assert_eq!(bounds(Some(176 + 80), &[2]), [[64, 96, 16, 32]]);
        assert_eq!(bounds(Some(38), &[2, 1]), [[4, 6, 2, 4], [4, 6, 2, 4]]);
        let [first, second] = bounds(Some(480), &[2, 1])[..] else { panic!("two") };
        assert!(first[0] > second[0] && second[0] > 16, "{first:?} {second:?}");
    }

    #[test]
    fn too_little_is_refused_with_the_least_that_works() {
        let told = |bytes, workers: &[u32]| {
            total(Some(Size(bytes)), workers).expect_err("refused").to_string()
        };
        let few = told(22 * MIB - 1, &[2]);
        assert_eq!(few, "memory: 23068671 is too little: 22MiB is the least that works");
        let few = told(20 * MIB, &[2, 1]);
        assert_eq!(few, "memory: 20MiB is too little: 38MiB is the least that works");
        assert_eq!(told(17 << 40, &[2]), "memory: 17TiB is more than 16TiB");
    }
}
