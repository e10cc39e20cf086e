//! Rows in the order of their keys: those of the store, with the open transaction's changes merged in.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::ops::Bound;

use super::overlay::Table;
use crate::processor::Visit;
use crate::store::{Result, Row, Store, unreadable};

impl Table {
    /// Shows the rows from a key on, until `visit` has enough.
    pub(crate) fn scan(
        &mut self,
        store: &dyn Store,
        (table, partition): (usize, u32),
        from: &[u8],
        visit: &mut Visit<'_>,
    ) -> Result<()> {
        self.sort();
        let mut changed = self.sorted(from).peekable();
        let (wants_more, mut wrong) = (Cell::new(true), None);
        let mut show = |key: &[u8], row: Option<&[u8]>| {
            wants_more.set(match row.map(Row::decode) {
                // It was deleted.
                None => true,
                Some(Ok(row)) => visit(key, row),
                Some(Err(error)) => {
                    wrong = Some(error);
                    false
                }
            });
            wants_more.get()
        };
        store.scan(table, partition, from, &mut |key, row| {
            while let Some((changed, row)) = changed.next_if(|(changed, _)| *changed < key) {
                if !show(changed, row) {
                    return false;
                }
            }
            match changed.next_if(|(changed, _)| *changed == key) {
                Some((_, row)) => show(key, row),
                None => show(key, Some(row)),
            }
        })?;
        while wants_more.get()
            && let Some((key, row)) = changed.next()
        {
            show(key, row);
        }
        wrong.map_or(Ok(()), |error| Err(unreadable(store, table, error)))
    }

    fn sorted(&self, from: &[u8]) -> impl Iterator<Item = (&[u8], Option<&[u8]>)> {
        let range = (Bound::Included(from), Bound::Unbounded);
        let sorted: Option<&BTreeMap<Vec<u8>, u32>> = self.sorted.as_ref();
        let places = sorted.into_iter().flat_map(move |sorted| sorted.range::<[u8], _>(range));
        places.map(|(key, place)| (key.as_slice(), self.row_at(*place)))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::overlay::Bounds;
    use super::*;
    use crate::store::StoreBatch;
    use crate::store::memory::MemoryStore;

    #[derive(Clone, Debug)]
    enum Step {
        Put(u8, u8),
        Delete(u8),
        Get(u8),
        Commit,
        Scan(u8, usize),
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            4 => (0_u8..20, any::<u8>()).prop_map(|(key, value)| Step::Put(key, value)),
            2 => (0_u8..20).prop_map(Step::Delete),
            1 => (0_u8..20).prop_map(Step::Get),
            1 => Just(Step::Commit),
            3 => (0_u8..21, 0_usize..25).prop_map(|(from, most)| Step::Scan(from, most)),
        ]
    }

    proptest! {
        #[test]
        fn a_scan_is_that_of_a_plain_map(steps in proptest::collection::vec(step(), 1..80)) {
            let (store, mut model) = (MemoryStore::default(), BTreeMap::new());
            let bounds = Bounds { clean_bytes: 100, room_bytes: 0, filter_bytes: 0 };
            let (mut table, mut bytes) = (Table::new(bounds), Vec::new());
            for step in steps {
                match step {
                    Step::Put(key, value) => {
                        Row::encode(1, 0, &[value], &mut bytes);
                        table.set(&[key], Some(&bytes));
                        model.insert(key, value);
                    }
                    Step::Delete(key) => {
                        table.set(&[key], None);
                        model.remove(&key);
                    }
                    Step::Get(key) => {
                        let row = table.get(&store, 0, 7, &[key]).expect("memory");
                        prop_assert_eq!(row.map(|row| row.value[0]), model.get(&key).copied());
                    }
                    Step::Commit => {
                        let mut batch = StoreBatch::default();
                        table.stage(0, 7, &mut batch);
                        store.apply(&batch).expect("memory");
                        table.committed();
                    }
                    Step::Scan(from, most) => {
                        let mut found = Vec::new();
                        let mut visit = |key: &[u8], row: Row<'_>| {
                            found.push((key[0], row.value[0]));
                            found.len() <= most
                        };
                        table.scan(&store, (0, 7), &[from], &mut visit).expect("memory");
                        let expected = model.range(from..).map(|(key, value)| (*key, *value));
                        prop_assert_eq!(found, expected.take(most + 1).collect::<Vec<_>>());
                    }
                }
            }
        }
    }
}
