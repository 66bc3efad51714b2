//! Encryption and compression.

use super::*;

/// Returns true if a text is in any file that there ever was.
fn is_readable(disk: &SimulatedDisk, text: &[u8]) -> bool {
    disk.contents().iter().any(|bytes| bytes.windows(text.len()).any(|part| part == text))
}

#[test]
fn an_encrypted_store_shows_nothing() {
    for mode in MODES.iter().filter(|mode| mode.cipher.is_some()) {
        let disk = SimulatedDisk::new(1);
        let mut storage = mode.open(&disk).unwrap().storage;
        let texts = [&b"subject.of.messages"[..], b"header", b"payload of it", b"entry of it"];
        let [subject, headers, payload, entry] = texts;
        for sequence in 1..=200 {
            let time = Time(sequence as i64);
            let of = Record { sequence, time, subject, headers, payload, expires: Time(0) };
            storage.append(&of).unwrap();
            storage.journal(entry).unwrap();
            if sequence % 10 == 0 {
                settle(&mut storage);
            }
        }
        (1..150).for_each(|sequence| {
            storage.remove(sequence, sequence % 3 == 0).unwrap();
        });
        settle(&mut storage);
        assert!(disk.names().unwrap().iter().any(|name| name.ends_with(".sum")));
        for text in texts.iter().chain(&[&b"natsdlog"[..], b"natsdsum", b"a key"]) {
            assert!(!is_readable(&disk, text), "{mode:?}: {}", String::from_utf8_lossy(text));
        }
        assert_eq!(mode.open(&disk).unwrap().storage.state().messages, 51);
    }
}

#[test]
fn a_store_is_opened_with_its_key_only() {
    let mode = MODES[2];
    let disk = SimulatedDisk::new(1);
    let mut storage = mode.open_with(&disk, "first", None).unwrap().storage;
    fill(&mut storage, 1..=10);
    settle(&mut storage);
    let before = disk.contents();
    for (mode, key, previous, expected) in [
        (PLAIN, "first", None, KeyError::Missing),
        (mode, "second", None, KeyError::Wrong),
        (mode, "second", Some("third"), KeyError::Wrong),
        (MODES[3], "second", None, KeyError::Wrong),
    ] {
        let error = mode.open_with(&disk, key, previous).err().unwrap();
        assert!(matches!(error, StorageError::Key(found) if found == expected), "{error}");
        assert!(!format!("{error} {error:?}").contains(key));
        assert!(disk.contents() == before, "nothing has changed");
    }
    // Of another stream.
    let encryption = Encryption { key: "first".into(), ..Encryption::default() };
    let other = encryption.of_store("A", "T");
    assert!(FramedDisk::open(Arc::new(disk.clone()), Some(&other)).is_err());
    assert!(!format!("{encryption:?} {other:?}").contains("first"));
    assert_eq!(mode.open_with(&disk, "first", None).unwrap().storage.state().messages, 10);
}

#[test]
fn a_key_and_a_cipher_are_replaced() {
    let disk = SimulatedDisk::new(1);
    let [aes, chacha] = [MODES[2], MODES[3]];
    let steps = [
        (aes, "first", None),
        (aes, "second", Some("first")),
        (aes, "second", None),
        (chacha, "second", Some("first")),
        (aes, "third", Some("second")),
        (aes, "third", None),
    ];
    for (mode, key, previous) in steps {
        let mut storage = mode.open_with(&disk, key, previous).unwrap().storage;
        let last = storage.state().last_sequence;
        fill(&mut storage, last + 1..=last + 30);
        settle(&mut storage);
    }
    for key in ["first", "second"] {
        assert!(aes.open_with(&disk, key, None).is_err());
    }
    let opened = aes.open_with(&disk, "third", None).unwrap();
    assert_eq!(opened.damage, []);
    for sequence in 1..=180 {
        let expected = [sequence as u8; 100];
        let mut buffer = Vec::new();
        let found = opened.storage.load(sequence, &mut buffer).unwrap();
        assert_eq!(found, Some(record(sequence, &expected)));
    }
}

#[test]
fn what_was_stored_before_there_was_a_key_is_encrypted() {
    // A crash at each step of it leaves a store that is opened.
    for seed in 0..seeds(150) {
        let (disk, step) = (SimulatedDisk::new(seed), seed % 59);
        let mut storage = MODES[seed as usize % 2].open(&disk).unwrap().storage;
        for part in 0..4 {
            fill(&mut storage, part * 20 + 1..=part * 20 + 20);
            settle(&mut storage);
        }
        if seed % 4 < 2 {
            // Its last write is not complete.
            disk.crash_after(seed % 3);
            fill(&mut storage, 81..=85);
            let _ = sync(&mut storage);
            disk.restart();
        }
        disk.crash_after(step);
        let mode = MODES[2 + seed as usize % 3];
        let _ = mode.open(&disk);
        disk.restart();
        let opened = mode.open(&disk).unwrap();
        assert_eq!(opened.damage, [], "{seed}");
        assert!((80..=85).contains(&opened.storage.state().messages), "{seed}: messages are lost");
        for name in disk.names().unwrap() {
            let mut bytes = vec![0; disk.length(&name)];
            disk.open(&name).unwrap().read_at(&mut bytes, 0).unwrap();
            assert!(!bytes.windows(20).any(|part| part == [50; 20]), "{seed} {name}");
        }
        // From now on, no file without encryption is believed.
        let plain = SimulatedDisk::new(1);
        let mut planted = open(&plain).storage;
        fill(&mut planted, 1..=5);
        settle(&mut planted);
        let name = format::name_of(1);
        let mut bytes = vec![0; plain.length(&name)];
        plain.open(&name).unwrap().read_at(&mut bytes, 0).unwrap();
        disk.create(&name).unwrap().write_at(&bytes, 0).unwrap();
        disk.remove(&summary::name_of(1)).ok();
        let opened = mode.open(&disk).unwrap();
        assert!(!opened.damage.is_empty());
        assert!(!opened.storage.load(1, &mut Vec::new()).is_ok_and(|found| found.is_some()));
    }
}

#[test]
fn compression_makes_files_shorter() {
    let mut lengths = Vec::new();
    for mode in [PLAIN, MODES[1], MODES[4]] {
        let disk = SimulatedDisk::new(1);
        let mut storage = mode.open(&disk).unwrap().storage;
        // Each on its own, as by a publisher that waits.
        for sequence in 1..=1500 {
            fill(&mut storage, sequence..=sequence);
            settle(&mut storage);
        }
        lengths.push(disk.used());
        let opened = mode.open(&disk).unwrap();
        assert_eq!((opened.damage, opened.storage.state().messages), (vec![], 1500));
        compare_files(&opened.storage, &storage);
    }
    assert!(lengths[1] < lengths[0] / 2 && lengths[2] < lengths[0] / 2, "{lengths:?}");
    // A stream whose configuration changes: segments from before are compressed, too.
    let disk = SimulatedDisk::new(1);
    let mut storage = open(&disk).storage;
    fill(&mut storage, 1..=400);
    settle(&mut storage);
    let before = disk.used();
    storage.set_compression(Compression::S2);
    for sequence in 401..=500 {
        fill(&mut storage, sequence..=sequence);
        settle(&mut storage);
    }
    assert!(disk.used() < before * 3 / 4, "{} of {before}", disk.used());
    storage.set_compression(Compression::None);
    fill(&mut storage, 501..=600);
    settle(&mut storage);
    compare_files(&open(&disk).storage, &storage);
}
