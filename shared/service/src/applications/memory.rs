//! Memory of all applications of a process: one total, of which each has a share.
//!
//! What is shared out are the bounds that an application is told: of its store, of its tables beside
//! that, and of each worker what is fetched and not processed, and the rows of a transaction. Each
//! application has its least, and what is left goes to them as the usual shares do: the first has what
//! it takes alone, and any other some of it.

use bps_streams::{ApplicationConfig, TableBounds};

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
    let mut config = ApplicationConfig::new("");
    let sum = |parts: &[&mut usize]| parts.iter().map(|bytes| **bytes as u64).sum::<u64>();
    let of_workers = u64::from(workers) * sum(&of_worker(&mut config));
    of_workers + sum(&of_tables(&mut config)) + sum(&of_store(&mut config))
}

/// The bounds of each worker.
fn of_worker(config: &mut ApplicationConfig) -> [&mut usize; 2] {
    [&mut config.worker.queue_bytes_max, &mut config.worker.commit.bytes_max]
}

/// The bounds of all tables.
fn of_tables(config: &mut ApplicationConfig) -> [&mut usize; 4] {
    let TableBounds { ledger_filter_bytes, changelog_filter_bytes, clean_bytes, room_bytes } =
        &mut config.tables;
    [ledger_filter_bytes, changelog_filter_bytes, clean_bytes, room_bytes]
}

/// The bounds of the store.
fn of_store(config: &mut ApplicationConfig) -> [&mut usize; 2] {
    [&mut config.memory.block_cache_bytes, &mut config.memory.write_buffer_bytes]
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
    let (alone, workers) = (alone(config.workers), u64::from(config.workers));
    let mut rest = share;
    let mut scale = |parts: &mut [&mut usize], by: u64, of: u64, times: u64| {
        for bytes in parts {
            **bytes = part(**bytes as u64, by, of) as usize;
            rest -= times * **bytes as u64;
        }
    };
    // With more a worker would only fetch further ahead, and commit later.
    let own = share.min(alone);
    scale(&mut of_worker(config), own, alone, workers);
    scale(&mut of_tables(config), own, alone, 1);
    let store = of_store(config);
    let both = store.iter().map(|bytes| **bytes as u64).sum();
    for bytes in store {
        *bytes = part(*bytes as u64, rest, both) as usize;
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

    /// Bounds of each application, in MiB: block cache, write buffers, queues and rows of a worker, all
    /// tables.
    fn bounds(told: Option<u64>, workers: &[u32]) -> Vec<[u64; 5]> {
        let total = total(told.map(|mib| Size(mib * MIB)), workers).expect("enough");
        let shares = shares(total, workers);
        let sum: u64 = shares.iter().sum();
        assert!(sum <= total.0 && total.0 - sum < 8, "{sum} of {total}");
        let of = |(workers, share): (&u32, u64)| {
            let mut config = ApplicationConfig::new("");
            config.workers = *workers;
            bound(&mut config, share);
            let [cache, buffers] = of_store(&mut config).map(|bytes| *bytes as u64);
            let [queue, rows] = of_worker(&mut config).map(|bytes| *bytes as u64);
            let tables: u64 = of_tables(&mut config).map(|bytes| *bytes as u64).iter().sum();
            let taken = cache + buffers + tables + u64::from(*workers) * (queue + rows);
            assert!(taken <= share && share - taken < 8, "{taken} of {share}");
            [cache, buffers, queue, rows, tables].map(|bytes| bytes / MIB)
        };
        workers.iter().zip(shares).map(of).collect()
    }

    #[test]
    fn one_takes_what_it_always_took_and_each_further_one_64_mib() {
        for workers in [1, 2, 4] {
            assert_eq!(bounds(None, &[workers]), [[32, 48, 16, 32, 196]], "{workers} workers");
        }
        assert_eq!(bounds(None, &[2, 1]), [[32, 48, 16, 32, 196], [6, 9, 3, 6, 38]]);
        let of = |workers: &[u32]| total(None, workers).expect("enough").0 / MIB;
        assert_eq!((of(&[2]), of(&[2, 1]), of(&[2, 1, 1, 1])), (372, 436, 564));
        // So many workers could not work with it.
        assert_eq!(of(&[2, 20]), 372 + (276 + 20 * 48) / 8);
    }

    #[test]
    fn a_total_is_shared_out() {
        assert_eq!(bounds(Some(186), &[2]), [[16, 24, 8, 16, 98]]);
        // The least.
        assert_eq!(bounds(Some(87), &[2, 1]), [[4, 6, 2, 4, 24], [4, 6, 2, 4, 24]]);
        // What is beyond what one takes is the store's.
        assert_eq!(bounds(Some(372 + 80), &[2]), [[64, 96, 16, 32, 196]]);
        let [first, second] = bounds(Some(800), &[2, 1])[..] else { panic!("two") };
        assert!(first[0] > second[0] && second[0] > 6, "{first:?} {second:?}");
    }

    #[test]
    fn too_little_is_refused_with_the_least_that_works() {
        let told = |bytes, workers: &[u32]| {
            total(Some(Size(bytes)), workers).expect_err("refused").to_string()
        };
        let few = told(40 * MIB, &[2]);
        assert_eq!(few, "memory: 40MiB is too little: 47616KiB is the least that works");
        let few = told(87 * MIB - 1, &[2, 1]);
        assert_eq!(few, "memory: 91226111 is too little: 87MiB is the least that works");
        assert_eq!(told(17 << 40, &[2]), "memory: 17TiB is more than 16TiB");
    }
}
