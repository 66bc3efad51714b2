//! Bytes that are not those that were written.

use super::*;

#[test]
fn one_flipped_bit_is_noticed_and_the_rest_is_served() {
    for (mode, step) in MODES.into_iter().zip([101, 211, 211, 211, 211]) {
        let disk = SimulatedDisk::new(1);
        let mut storage = mode.open(&disk).unwrap().storage;
        storage.journal(b"entry").unwrap();
        for batch in 0..10 {
            fill(&mut storage, batch * 20 + 1..=batch * 20 + 20);
            settle(&mut storage);
        }
        let names = disk.names().unwrap();
        assert!(names.len() > 5);
        for name in &names {
            let used = used_bytes(&disk, name);
            for byte in (0..used).step_by(step).chain([used - 1]) {
                disk.flip(name, byte, (byte % 8) as u8);
                if format::segment_of(name).is_some() {
                    check_damage(&storage, mode, &disk, name, byte);
                } else {
                    check_noticed(&storage, mode, &disk, name);
                }
                disk.flip(name, byte, (byte % 8) as u8);
            }
        }
    }
}

/// Returns the length of a file without the zeros at its end.
fn used_bytes(disk: &SimulatedDisk, name: &str) -> usize {
    let mut bytes = vec![0; disk.length(name)];
    disk.open(name).unwrap().read_at(&mut bytes, 0).unwrap();
    bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1)
}

/// Checks that damage outside of segments is reported, and that all messages are served.
fn check_noticed(live: &FileStorage, mode: Mode, disk: &SimulatedDisk, name: &str) {
    let opened = mode.open(&disk.copy()).unwrap();
    assert_eq!(opened.damage.len(), 1, "{mode:?} {name}");
    assert_eq!(opened.damage[0].file, name);
    compare_files(&opened.storage, live);
}

/// Checks the messages that are served after a bit was flipped: by a store that is open, and by one that was opened then.
fn check_damage(live: &FileStorage, mode: Mode, disk: &SimulatedDisk, name: &str, byte: usize) {
    let opened = open_copy(disk, mode);
    let mut lost = Vec::new();
    let mut buffer = Vec::new();
    for sequence in 1..=200 {
        let expected = [sequence as u8; 100];
        match opened.storage.load(sequence, &mut buffer) {
            Ok(Some(found)) => assert_eq!(found, record(sequence, &expected)),
            Ok(None) | Err(StorageError::Damaged { .. }) => lost.push(sequence),
            Err(error) => panic!("{mode:?} {name} {byte}: {error}"),
        }
        live.reader.borrow_mut().close(live.segments[live.segment_of(sequence)].number);
        match live.load(sequence, &mut buffer) {
            Ok(Some(found)) => assert_eq!(found, record(sequence, &expected)),
            Ok(None) => panic!("{mode:?} {name} {byte}: {sequence} is lost"),
            Err(_) => assert!(lost.contains(&sequence), "{mode:?} {name} {byte}"),
        }
    }
    // The messages of a frame share its fate; a segment has about 30.
    let most = if mode.cipher.is_some() || mode.compression != Compression::None { 32 } else { 1 };
    assert!(lost.len() <= most, "{mode:?} {name} {byte}: {lost:?}");
    let noticed = !opened.damage.is_empty() || opened.cut_bytes > 0;
    assert!(noticed, "{mode:?} {name} {byte}");
    if let (Some((first, last)), [damage]) = (lost.first().zip(lost.last()), &opened.damage[..]) {
        let sequences = damage.sequences.unwrap_or((*first, *last));
        assert_eq!((damage.file.as_str(), sequences), (name, (*first, *last)), "{mode:?}");
    }
    assert!(opened.storage.next_match(&Filters::default(), 0).is_some());
}

/// Checks all segments of a store. Returns the damage.
fn scrub(storage: &mut FileStorage) -> Vec<Damage> {
    let mut damage = Vec::new();
    while let Some(mut scrub) = storage.begin_scrub() {
        scrub.run(&mut |_| true).unwrap();
        damage.extend(storage.finish_scrub(&scrub));
    }
    damage
}

#[test]
fn damage_of_a_store_that_is_open_is_found() {
    for mode in MODES {
        let disk = SimulatedDisk::new(1);
        let mut storage = mode.open(&disk).unwrap().storage;
        for batch in 0..10 {
            fill(&mut storage, batch * 20 + 1..=batch * 20 + 20);
            settle(&mut storage);
        }
        storage.remove(7, true).unwrap();
        settle(&mut storage);
        assert_eq!(scrub(&mut storage), [], "{mode:?}");
        let name = format::name_of(storage.segments[2].number);
        disk.flip(&name, disk.length(&name) / 2, 3);
        // Messages in memory are not read.
        storage = mode.open(&disk).unwrap().storage;
        let found = scrub(&mut storage);
        let [damage] = &found[..] else { panic!("{mode:?}: {found:?}") };
        assert_eq!(damage.file, name);
        let (first, last) = damage.sequences.unwrap();
        for sequence in 1..=200 {
            let is_lost = storage.load(sequence, &mut Vec::new()).is_err();
            assert_eq!(is_lost, (first..=last).contains(&sequence), "{mode:?} {sequence}");
        }
        assert_eq!(scrub(&mut storage), [], "it is reported once");
    }
}

#[test]
fn a_check_that_ends_early_or_meets_a_change_finds_nothing() {
    let disk = SimulatedDisk::new(1);
    let mut storage = open(&disk).storage;
    fill(&mut storage, 1..=100);
    settle(&mut storage);
    disk.flip(&format::name_of(1), 1500, 3);
    let mut check = storage.begin_scrub().unwrap();
    check.run(&mut |_| false).unwrap();
    assert_eq!(storage.finish_scrub(&check), []);
    storage.scrubbed = 0;
    let mut check = storage.begin_scrub().unwrap();
    storage.remove(90, true).unwrap();
    let job = storage.begin_sync();
    check.run(&mut |_| true).unwrap();
    assert_eq!(storage.finish_scrub(&check), [], "a message was being overwritten");
    assert!(storage.begin_scrub().is_none(), "a message is being overwritten");
    let mut job = job.unwrap();
    job.run();
    storage.finish_sync(job).unwrap();
    storage.scrubbed = 0;
    assert_eq!(scrub(&mut storage).len(), 1);
}

#[test]
fn messages_behind_a_damaged_end_are_not_lost() {
    for mode in MODES {
        for (cut, tail) in (0..40).zip([&b""[..], b"\xff\xff\xff\xff\xff"].repeat(20)) {
            let disk = SimulatedDisk::new(1);
            let mut storage = mode.open(&disk).unwrap().storage;
            fill(&mut storage, 1..=40);
            settle(&mut storage);
            let name = format::name_of(storage.segments.back().unwrap().number);
            // The last segment or, without it, the one before ends with bytes that are no record.
            let target = if cut % 4 < 2 { format::name_of(1) } else { name.clone() };
            if target != name {
                disk.open(&name).unwrap().truncate(20).unwrap();
            }
            let length = used_bytes(&disk, &target) - cut;
            let file = disk.open(&target).unwrap();
            file.truncate(length as u64).unwrap();
            file.write_at(tail, length as u64).unwrap();
            let mut storage = mode.open(&disk).unwrap().storage;
            let last = storage.state().last_sequence;
            fill(&mut storage, last + 1..=last + 5);
            settle(&mut storage);
            let opened = mode.open(&disk).unwrap().storage;
            for sequence in last + 1..=last + 5 {
                let found =
                    opened.load(sequence, &mut Vec::new()).is_ok_and(|found| found.is_some());
                assert!(found, "{mode:?} {cut} {sequence}");
            }
        }
    }
}

/// Replaces, removes or repeats some bytes of a file.
fn spoil(disk: &SimulatedDisk, random: &mut Random) {
    let names = disk.names().unwrap();
    let file = disk.open(&names[random.below(names.len() as u64) as usize]).unwrap();
    let length = file.size().unwrap();
    let (at, from) = (random.below(length + 1), random.below(length + 1));
    let mut bytes = vec![0; random.below(600) as usize];
    match random.below(4) {
        0 => return file.truncate(at).unwrap(),
        1 => bytes.iter_mut().for_each(|byte| *byte = random.below(256) as u8),
        2 => {}
        _ => {
            file.read_at(&mut bytes, from).unwrap();
        }
    }
    file.write_at(&bytes, at).unwrap();
}

#[test]
fn any_bytes_are_opened_or_refused_and_never_delivered() {
    for seed in 0..seeds(150) {
        let (mut random, disk, mode) =
            (Random::new(seed), SimulatedDisk::new(seed), Mode::of(seed));
        let mut storage = mode.open(&disk).unwrap().storage;
        for batch in 0..8 {
            fill(&mut storage, batch * 10 + 1..=batch * 10 + 10);
            storage.journal(b"entry").unwrap();
            settle(&mut storage);
        }
        (0..=random.below(6)).for_each(|_| spoil(&disk, &mut random));
        let Ok(opened) = mode.open(&disk) else { continue };
        let mut storage = opened.storage;
        let last = storage.state().last_sequence;
        scrub(&mut storage);
        fill(&mut storage, last + 1..=last + 5);
        settle(&mut storage);
        let again = mode.open(&disk).unwrap().storage;
        for storage in [&storage, &again] {
            let mut buffer = Vec::new();
            for sequence in 1..=last + 5 {
                let found = storage.load(sequence, &mut buffer);
                assert!(sequence <= last || matches!(found, Ok(Some(_))), "seed {seed}");
                if let Ok(Some(found)) = found {
                    let expected = [sequence as u8; 100];
                    assert_eq!(found, record(sequence, &expected), "seed {seed}");
                }
            }
        }
    }
}
