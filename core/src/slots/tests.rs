//! The table against a naive model, and what generations promise.

use super::*;
use crate::testing::SplitMix64;
use std::collections::BTreeSet;
use std::vec::Vec;
use std::{format, println};

type Table = SlotTable<u64, Vec<Entry<u64>>>;

fn table(capacity: usize) -> Table {
    let mut entries = Vec::new();
    entries.resize_with(capacity, Entry::default);
    SlotTable::new(entries)
}

fn order(table: &Table) -> Vec<u64> {
    table.by_activity().map(|(_, &value)| value).collect()
}

#[test]
fn random_scripts_give_what_a_plain_list_gives() {
    for seed in 0..80 {
        println!("seed {seed}");
        let mut random = SplitMix64::new(seed);
        let mut capacity = random.index(40);
        let mut table = table(capacity);
        // The live slots, oldest first; every id ever given; which indices are free and which retired.
        let mut live: Vec<(SlotId, u64)> = Vec::new();
        let mut given: Vec<SlotId> = Vec::new();
        let mut free: BTreeSet<usize> = (0..capacity).collect();
        let mut retired: BTreeSet<usize> = BTreeSet::new();
        let mut fresh = 0;
        for step in 0..600_u64 {
            match random.index(12) {
                kind @ 0..=4 => {
                    let start = if kind < 2 { random.index(45) } else { 0 };
                    let from = start.min(fresh);
                    let expected = free.range(from..).next().or_else(|| free.first()).copied();
                    expected.map(|index| free.remove(&index));
                    fresh = fresh.max(expected.map_or(0, |index| index + 1));
                    let got = if kind < 2 { table.insert_from(start as u32, step) } else { table.insert(step) };
                    match (got, expected) {
                        (Ok(id), Some(index)) => {
                            assert_eq!(id.index() as usize, index);
                            assert!(!given.contains(&id), "{id} was given twice");
                            given.push(id);
                            live.push((id, step));
                        }
                        (Err(Full(value)), None) => assert_eq!(value, step),
                        (got, expected) => panic!("{got:?} instead of {expected:?}"),
                    }
                }
                5..=7 if !given.is_empty() => {
                    let id = given[random.index(given.len())];
                    let at = live.iter().position(|&(other, _)| other == id);
                    assert_eq!(table.remove(id), at.map(|at| live.remove(at).1));
                    if at.is_some() {
                        retired.insert(id.index() as usize);
                    }
                }
                8 | 9 if !given.is_empty() => {
                    let id = given[random.index(given.len())];
                    let at = live.iter().position(|&(other, _)| other == id);
                    assert_eq!(table.touch(id), at.is_some());
                    if let Some(at) = at {
                        let one = live.remove(at);
                        live.push(one);
                    }
                }
                10 if random.index(20) == 0 => {
                    let more = random.index(9);
                    table.grow(|entries| entries.resize_with(capacity + more, Entry::default));
                    free.extend(capacity..capacity + more);
                    capacity += more;
                }
                11 => {
                    table.reclaim();
                    free.append(&mut retired);
                }
                _ => {}
            }
            assert_eq!(table.len() as usize, live.len());
            assert_eq!(table.is_empty(), live.is_empty());
            assert_eq!(table.retired() as usize, retired.len());
            assert_eq!(table.capacity() as usize, capacity);
            assert!(table.by_activity().map(|(id, &value)| (id, value)).eq(live.iter().copied()));
            assert_eq!(table.least_recent(), live.first().map(|&(id, _)| id));
            let mut sorted = live.clone();
            sorted.sort_unstable_by_key(|(id, _)| id.index());
            assert!(table.iter().map(|(id, &value)| (id, value)).eq(sorted.iter().copied()));
            assert!(table.iter_mut().map(|(id, value)| (id, *value)).eq(sorted.iter().copied()));
            let by_index =
                (0..capacity as u32 + 1).filter_map(|index| table.at_mut(index).map(|(id, value)| (id, *value)));
            assert!(by_index.eq(sorted));
            if let Some(&id) = given.last() {
                let value = live.iter().find(|&&(other, _)| other == id).map(|&(_, value)| value);
                assert_eq!(table.get(id).copied(), value);
                assert_eq!(table.get_mut(id).copied(), value);
                assert_eq!(table.contains(id), value.is_some());
            }
        }
    }
}

#[test]
fn a_stale_id_finds_nothing_even_when_its_slot_is_used_again() {
    let mut table = table(1);
    let old = table.insert(1).unwrap();
    assert_eq!(table.remove(old), Some(1));
    assert_eq!((table.get(old), table.id_at(0)), (None, None));
    table.reclaim();
    let new = table.insert(2).unwrap();
    assert_eq!((new.index(), new.generation()), (old.index(), old.generation() + 1));
    assert_eq!(table.get(old), None);
    assert_eq!(table.get_mut(old), None);
    assert_eq!(table.remove(old), None);
    assert!(!table.contains(old) && !table.touch(old));
    assert_eq!((table.get(new), table.id_at(0)), (Some(&2), Some(new)));
}

#[test]
fn a_removed_slot_is_not_used_again_before_it_is_reclaimed() {
    let mut table = table(2);
    let first = table.insert(1).unwrap();
    table.remove(first).unwrap();
    assert_eq!(table.insert(2).unwrap().index(), 1);
    assert_eq!(table.insert(3), Err(Full(3)));
    assert_eq!(table.retired(), 1);
    table.reclaim();
    assert_eq!(table.retired(), 0);
    assert_eq!(table.insert(3).unwrap().index(), 0);
}

#[test]
fn the_lowest_free_index_comes_first() {
    let mut table = table(8);
    let ids: Vec<_> = (0..6).map(|value| table.insert(value).unwrap()).collect();
    for at in [4, 1, 5, 0] {
        table.remove(ids[at]).unwrap();
    }
    table.reclaim();
    let indices: Vec<_> = (0..6).map(|value| table.insert(value).unwrap().index()).collect();
    assert_eq!(indices, [0, 1, 4, 5, 6, 7]);
}

#[test]
fn the_lowest_free_index_comes_first_on_every_level_of_marks() {
    const SLOTS: usize = 70_000;
    let mut table = table(33);
    let mut ids = Vec::new();
    for value in 0..SLOTS as u64 {
        ids.push(table.insert(value).unwrap_or_else(|Full(value)| {
            let capacity = (table.capacity() as usize * 3 / 2).min(SLOTS);
            table.grow(|entries| entries.resize_with(capacity, Entry::default));
            table.insert(value).unwrap()
        }));
    }
    let mut random = SplitMix64::new(11);
    let mut free = BTreeSet::new();
    for _ in 0..300 {
        // Few or many are free, and some alone in their part of the table.
        let count = random.pick(&[1, 2, 40, 3000]);
        for _ in 0..random.below(count) + 1 {
            let index = random.index(SLOTS);
            if table.remove(ids[index]).is_some() {
                free.insert(index);
            }
        }
        table.reclaim();
        for value in 0..random.below(count) + 1 {
            let Some(index) = free.pop_first() else { break };
            ids[index] = table.insert(value).unwrap();
            assert_eq!(ids[index].index() as usize, index);
        }
    }
    assert_eq!(table.len() as usize, SLOTS - free.len());
}

#[test]
fn activity_orders_from_the_least_recent() {
    let mut table = table(4);
    assert_eq!(table.least_recent(), None);
    let ids: Vec<_> = (0..4).map(|value| table.insert(value).unwrap()).collect();
    table.touch(ids[0]);
    assert_eq!(order(&table), [1, 2, 3, 0]);
    table.touch(ids[2]);
    table.touch(ids[2]);
    assert_eq!(order(&table), [1, 3, 0, 2]);
    table.remove(ids[1]).unwrap();
    table.remove(ids[2]).unwrap();
    assert_eq!(order(&table), [3, 0]);
    assert_eq!(table.least_recent(), Some(ids[3]));
}

#[test]
fn the_generation_wraps_after_its_last_value() {
    let mut table = table(1);
    let id = table.insert(1).unwrap();
    table.remove(id).unwrap();
    table.reclaim();
    table.entries[0].generation = u32::MAX;
    let last = table.insert(2).unwrap();
    assert_eq!(last.generation(), u32::MAX);
    table.remove(last).unwrap();
    table.reclaim();
    assert_eq!(table.insert(3).unwrap().generation(), 0);
    assert_eq!(table.get(last), None);
}

#[test]
fn ids_of_tables_that_start_apart_do_not_match() {
    let starting_at = |generation| {
        let mut entries = Vec::new();
        entries.resize_with(2, || Entry::starting_at(generation));
        Table::new(entries)
    };
    let (mut one, mut other) = (starting_at(u32::MAX), starting_at(7));
    for value in 0..3 {
        let (ours, theirs) = (one.insert(value).unwrap(), other.insert(value).unwrap());
        assert_eq!((ours.index(), theirs.index()), (0, 0));
        assert!(!one.contains(theirs) && !other.contains(ours));
        assert_eq!(ours.generation(), u32::MAX.wrapping_add(u32::try_from(value).unwrap()));
        assert_eq!((one.remove(ours), other.remove(theirs)), (Some(value), Some(value)));
        one.reclaim();
        other.reclaim();
    }
}

#[test]
fn an_id_survives_the_way_through_its_bits() {
    let id = SlotId::from_bits(0x0000_0007_ffff_0003);
    assert_eq!((id.generation(), id.index()), (7, 0xffff_0003));
    assert_eq!(id.to_bits(), 0x0000_0007_ffff_0003);
    assert_eq!(format!("{}", SlotId::from_bits(7 << 32 | 3)), "3.7");
}

#[test]
fn a_table_without_slots_gives_every_value_back() {
    let mut table = SlotTable::<u64, [Entry<u64>; 0]>::new([]);
    assert_eq!(table.insert(5), Err(Full(5)));
    table.reclaim();
    assert_eq!((table.capacity(), table.len(), table.least_recent()), (0, 0, None));
    assert_eq!(table.remove(SlotId::from_bits(0)), None);
    assert!(!table.touch(SlotId::from_bits(u64::MAX)));
    assert_eq!(table.iter().count() + table.iter_mut().count() + table.by_activity().count(), 0);
}

#[test]
fn storage_that_became_shorter_leaves_an_empty_table() {
    let mut table = table(3);
    let ids: Vec<_> = (0..3).map(|value| table.insert(value).unwrap()).collect();
    table.remove(ids[1]).unwrap();
    table.grow(|entries| entries.truncate(2));
    assert_eq!((table.len(), table.retired(), table.least_recent()), (0, 0, None));
    assert_eq!(table.get(ids[0]), None);
    let again = table.insert(9).unwrap();
    assert_eq!(again.index(), 0);
    assert_ne!(again, ids[0]);
    assert_eq!(order(&table), [9]);
}

#[test]
fn a_table_can_be_a_static_of_values_that_are_not_copied() {
    type Boxed = SlotTable<Vec<u8>, [Entry<Vec<u8>>; 2]>;
    static TABLE: std::sync::Mutex<Boxed> = std::sync::Mutex::new(SlotTable::new([const { Entry::EMPTY }; 2]));
    let mut table = TABLE.lock().unwrap();
    let id = table.insert(Vec::from([1])).unwrap();
    table.get_mut(id).unwrap().push(2);
    assert_eq!(table.remove(id), Some(Vec::from([1, 2])));
}
