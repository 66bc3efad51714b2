//! The subject of each message of a window.

use super::selection::Wanted;
use super::subjects::SubjectId;

/// No message.
const NONE: SubjectId = SubjectId::MAX;

/// The subjects of the messages of a window, by the low bits of their sequences.
///
/// A window that grows has one number for each message. One that is full has the different numbers once, sorted, and for each
/// message the place of its subject among them in one or two bytes: a search compares many of them at a time, and skips the
/// window if the subject is not in its table.
pub(crate) enum Column {
    /// Numbers of subjects.
    Open(Vec<SubjectId>),
    /// All messages have one subject. Which are there, [`Window`](super::window::Window) knows.
    Sole(SubjectId),
    /// Places in a table of at most 255, from 1.
    Bytes(Box<[SubjectId]>, Box<[u8]>),
    /// Places in a table of at most 65535, from 1.
    Words(Box<[SubjectId]>, Box<[u16]>),
}

impl Column {
    /// Sets the subject of a message of an open column.
    pub(crate) fn set(&mut self, low: usize, id: SubjectId) {
        if let Self::Open(ids) = self {
            if low >= ids.len() {
                ids.resize(low + 1, NONE);
            }
            ids[low] = id;
        }
    }

    /// Removes a message.
    pub(crate) fn clear(&mut self, low: usize) {
        match self {
            Self::Open(ids) => ids[low] = NONE,
            Self::Sole(_) => {}
            Self::Bytes(_, places) => places[low] = 0,
            Self::Words(_, places) => places[low] = 0,
        }
    }

    /// Returns the subject of a message that is there.
    pub(crate) fn get(&self, low: usize) -> SubjectId {
        match self {
            Self::Open(ids) => ids[low],
            Self::Sole(id) => *id,
            Self::Bytes(table, places) => table[places[low] as usize - 1],
            Self::Words(table, places) => table[places[low] as usize - 1],
        }
    }

    /// Takes the form for a window that is full.
    pub(crate) fn close(&mut self) {
        let Self::Open(ids) = self else { return };
        let mut table: Vec<_> = ids.iter().copied().filter(|id| *id != NONE).collect();
        table.sort_unstable();
        table.dedup();
        let place = |id: &SubjectId| table.binary_search(id).map_or(0, |at| at + 1);
        *self = match table[..] {
            [id] => Self::Sole(id),
            _ if table.len() <= usize::from(u8::MAX) => {
                let places = ids.iter().map(|id| place(id) as u8).collect();
                Self::Bytes(table.into(), places)
            }
            _ if table.len() <= usize::from(u16::MAX) => {
                let places = ids.iter().map(|id| place(id) as u16).collect();
                Self::Words(table.into(), places)
            }
            // Each of 65536 messages has a subject of its own.
            _ => return ids.shrink_to_fit(),
        };
    }

    /// Returns the selected messages of the column, in the form that finds them fastest.
    pub(crate) fn search<'a>(&'a self, wanted: Wanted<'a>) -> Search<'a> {
        match (self, wanted) {
            (_, Wanted::All) => Search::All,
            (Self::Open(ids), Wanted::One(id)) => Search::Id(ids, id),
            (Self::Open(ids), Wanted::Any(set)) => {
                Search::Ids(ids, Box::new(move |id| id != NONE && set.contains(id as usize)))
            }
            (Self::Sole(id), wanted) if wanted.contains(*id) => Search::All,
            (Self::Sole(_), _) => Search::Nothing,
            (Self::Bytes(table, places), wanted) => match Places::of(table, wanted) {
                Places::None => Search::Nothing,
                Places::One(place) => Search::Byte(places, place as u8),
                Places::Some(chosen) => Search::Bytes(places, chosen),
            },
            (Self::Words(table, places), wanted) => match Places::of(table, wanted) {
                Places::None => Search::Nothing,
                Places::One(place) => Search::Word(places, place as u16),
                Places::Some(chosen) => Search::Words(places, chosen),
            },
        }
    }
}

impl Wanted<'_> {
    /// Returns true if the subject is wanted.
    pub(crate) fn contains(self, id: SubjectId) -> bool {
        match self {
            Self::All => true,
            Self::One(one) => one == id,
            Self::Any(set) => set.contains(id as usize),
        }
    }
}

/// The wanted subjects of a table.
enum Places {
    None,
    One(usize),
    Some(Vec<bool>),
}

impl Places {
    fn of(table: &[SubjectId], wanted: Wanted<'_>) -> Self {
        if let Wanted::One(id) = wanted {
            return table.binary_search(&id).map_or(Self::None, |at| Self::One(at + 1));
        }
        let mut chosen = vec![false; table.len() + 1];
        let mut found = 0;
        for (at, id) in table.iter().enumerate() {
            chosen[at + 1] = wanted.contains(*id);
            found += usize::from(chosen[at + 1]);
        }
        match found {
            0 => Self::None,
            1 => Self::One(chosen.iter().position(|chosen| *chosen).unwrap_or(0)),
            _ => Self::Some(chosen),
        }
    }
}

/// The selected messages of a column.
pub(crate) enum Search<'a> {
    /// All that are there.
    All,
    /// None.
    Nothing,
    /// Those of a subject.
    Id(&'a [SubjectId], SubjectId),
    /// Those of several.
    Ids(&'a [SubjectId], Box<dyn Fn(SubjectId) -> bool + 'a>),
    /// Those with a place.
    Byte(&'a [u8], u8),
    /// Those with one of several places.
    Bytes(&'a [u8], Vec<bool>),
    /// Those with a place.
    Word(&'a [u16], u16),
    /// Those with one of several places.
    Words(&'a [u16], Vec<bool>),
}

/// Evaluates an expression over the items and the test of a search. Each search gets code of its own, that compares many
/// items at a time.
macro_rules! over {
    ($search:expr, $all:expr, |$items:ident, $test:ident| $body:expr) => {
        match $search {
            Search::All => $all,
            Search::Nothing => Default::default(),
            Search::Id($items, id) => over!(@ |item: SubjectId| item == *id, $test, $body),
            Search::Ids($items, ids) => over!(@ |item: SubjectId| ids(item), $test, $body),
            Search::Byte($items, place) => over!(@ |item: u8| item == *place, $test, $body),
            Search::Bytes($items, places) => over!(@ |item: u8| places[item as usize], $test, $body),
            Search::Word($items, place) => over!(@ |item: u16| item == *place, $test, $body),
            Search::Words($items, places) => over!(@ |item: u16| places[item as usize], $test, $body),
        }
    };
    (@ $closure:expr, $test:ident, $body:expr) => {{ let $test = $closure; $body }};
}

impl Search<'_> {
    /// Returns the first at or after `from`; `all` for a search without a choice.
    pub(crate) fn next(&self, from: usize, all: impl FnOnce() -> Option<usize>) -> Option<usize> {
        over!(self, all(), |items, test| first(items.get(from..)?, test).map(|at| from + at))
    }

    /// Returns the last at or before `until`; `all` for a search without a choice.
    pub(crate) fn previous(
        &self,
        until: usize,
        all: impl FnOnce() -> Option<usize>,
    ) -> Option<usize> {
        over!(self, all(), |items, test| last(&items[..items.len().min(until + 1)], test))
    }

    /// Counts those at or after `from`; `all` for a search without a choice.
    pub(crate) fn count(&self, from: usize, all: impl FnOnce() -> usize) -> usize {
        over!(self, all(), |items, test| {
            // The count of a chunk fits into a byte, so that many bytes are added at a time.
            let add = |count: u8, item: &_| count.wrapping_add(u8::from(test(*item)));
            let chunks = items.get(from..).unwrap_or_default().chunks(128);
            chunks.map(|chunk| usize::from(chunk.iter().fold(0, add))).sum()
        })
    }
}

/// The items that are compared before the first branch.
const CHUNK: usize = 64;

/// Returns the place of the first item that passes a test.
fn first<T: Copy>(items: &[T], test: impl Fn(T) -> bool) -> Option<usize> {
    let any = |chunk: &[T]| chunk.iter().fold(false, |any, item| any | test(*item));
    let chunk = items.chunks(CHUNK).position(any)? * CHUNK;
    items[chunk..].iter().position(|item| test(*item)).map(|at| chunk + at)
}

/// Returns the place of the last item that passes a test.
fn last<T: Copy>(items: &[T], test: impl Fn(T) -> bool) -> Option<usize> {
    let any = |chunk: &[T]| chunk.iter().fold(false, |any, item| any | test(*item));
    let behind = items.rchunks(CHUNK).position(any)? * CHUNK;
    items[..items.len() - behind].iter().rposition(|item| test(*item))
}
