//! The subject of each message of a window.

use super::bits::Bits;
use super::packed::Packed;
use super::present::Present;
use super::selection::Wanted;
use super::subject_id::SubjectId;

/// No message.
const NONE: SubjectId = SubjectId::MAX;

/// The numbers of subjects among which the different ones are found by marking them, not by sorting.
const MARKED: usize = 1 << 18;

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
    /// The numbers of the subjects grow by one from message to message, as those of new subjects do: the one of the first sequence of the
    /// window, which counts around. Which messages are there, [`Window`](super::window::Window) knows.
    Row(SubjectId),
    /// Places in a table of at most 255, from 1.
    Bytes(Box<[SubjectId]>, Box<[u8]>),
    /// The same, packed.
    Packed(Box<[SubjectId]>, Packed),
    /// Places in a table of at most 32768, from 1.
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
        if let Self::Packed(table, packed) = self {
            *self = Self::Bytes(std::mem::take(table), packed.places().into());
        }
        match self {
            Self::Open(ids) => ids[low] = NONE,
            Self::Sole(_) | Self::Row(_) | Self::Packed(..) => {}
            Self::Bytes(_, places) => places[low] = 0,
            Self::Words(_, places) => places[low] = 0,
        }
    }

    /// Returns the subject of a message that is there.
    pub(crate) fn get(&self, low: usize) -> SubjectId {
        match self {
            Self::Open(ids) => ids[low],
            Self::Sole(id) => *id,
            Self::Row(first) => first.wrapping_add(low as SubjectId),
            Self::Bytes(table, places) => table[places[low] as usize - 1],
            Self::Packed(table, packed) => table[packed.places()[low] as usize - 1],
            Self::Words(table, places) => table[places[low] as usize - 1],
        }
    }

    /// Takes the form for a window that is full.
    pub(crate) fn close(&mut self) {
        let Self::Open(ids) = self else { return };
        if let Some(first) = row(ids) {
            *self = Self::Row(first);
            return;
        }
        let table = Table::of(ids);
        *self = match table.ids[..] {
            [id] => Self::Sole(id),
            _ if table.ids.len() <= usize::from(u8::MAX) => {
                let places = ids.iter().map(|id| table.place(*id) as u8).collect();
                Self::Bytes(table.ids.into(), places)
            }
            _ if table.ids.len() <= ids.len() / 2 => {
                let places = ids.iter().map(|id| table.place(*id) as u16).collect();
                Self::Words(table.ids.into(), places)
            }
            // A table takes more than it saves.
            _ => return ids.shrink_to_fit(),
        };
    }

    /// Takes less room, if that is possible and was not done before: it is rarely read.
    pub(crate) fn pack(&mut self) {
        if let Self::Bytes(table, places) = self
            && let Some(packed) = Packed::new(places, table.len())
        {
            *self = Self::Packed(std::mem::take(table), packed);
        }
    }

    /// Forgets what was unpacked to be read.
    pub(crate) fn forget(&mut self) {
        if let Self::Packed(_, packed) = self {
            packed.forget();
        }
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
            (Self::Row(first), Wanted::One(id)) => Search::At(id.wrapping_sub(*first) as usize),
            (Self::Row(first), Wanted::Any(set)) => Search::Row(*first, set),
            (Self::Bytes(table, places), wanted) => Search::bytes(table, wanted, || places),
            (Self::Packed(table, packed), wanted) => {
                Search::bytes(table, wanted, || packed.places())
            }
            (Self::Words(table, places), Wanted::Any(set)) => Search::Near(table, places, set),
            (Self::Words(table, places), wanted) => Search::words(table, wanted, places),
        }
    }
}

/// Returns the number of the subject of the first sequence of a window, if they grow by one.
fn row(ids: &[SubjectId]) -> Option<SubjectId> {
    let firsts = ids.iter().enumerate().filter(|(_, id)| **id != NONE);
    let mut firsts = firsts.map(|(low, id)| id.wrapping_sub(low as SubjectId));
    let first = firsts.next()?;
    firsts.all(|other| other == first).then_some(first)
}

/// The different subjects of a column, sorted.
struct Table {
    ids: Vec<SubjectId>,
    /// The place of each number from the lowest one on, 0 for those that are not in the table; empty for numbers that are far apart.
    places: Vec<u32>,
}

impl Table {
    fn of(ids: &[SubjectId]) -> Self {
        let used = || ids.iter().copied().filter(|id| *id != NONE);
        let lowest = used().min().unwrap_or(0);
        let span = used().max().map_or(0, |highest| (highest - lowest) as usize + 1);
        if span > MARKED {
            let mut ids: Vec<_> = used().collect();
            ids.sort_unstable();
            ids.dedup();
            return Self { ids, places: Vec::new() };
        }
        let (mut ids, mut places) = (Vec::new(), vec![0; span]);
        used().for_each(|id| places[(id - lowest) as usize] = 1);
        for (at, place) in places.iter_mut().enumerate().filter(|(_, place)| **place > 0) {
            ids.push(lowest + at as SubjectId);
            *place = ids.len() as u32;
        }
        Self { ids, places }
    }

    /// Returns the place of a number, from 1; 0 for [`NONE`].
    fn place(&self, id: SubjectId) -> usize {
        if id == NONE {
            return 0;
        }
        if self.places.is_empty() {
            return self.ids.binary_search(&id).map_or(0, |at| at + 1);
        }
        self.places[(id - self.ids[0]) as usize] as usize
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
    /// The one at a place, if it is there.
    At(usize),
    /// Those of several subjects, whose numbers grow by one.
    Row(SubjectId, &'a Bits),
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
    /// Those of several subjects in a long table, which is read only when none is near.
    Near(&'a [SubjectId], &'a [u16], &'a Bits),
}

/// Evaluates an expression over the items and the test of a search. Each search gets code of its own, that compares many
/// items at a time.
macro_rules! over {
    ($search:expr, $present:expr, |$items:ident, $test:ident| $body:expr) => {
        match $search {
            Search::Nothing => Default::default(),
            Search::All | Search::At(_) | Search::Row(..) | Search::Near(..) => $present,
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

impl<'a> Search<'a> {
    fn bytes(table: &[SubjectId], wanted: Wanted<'_>, places: impl FnOnce() -> &'a [u8]) -> Self {
        match Places::of(table, wanted) {
            Places::None => Self::Nothing,
            Places::One(place) => Self::Byte(places(), place as u8),
            Places::Some(chosen) => Self::Bytes(places(), chosen),
        }
    }

    fn words(table: &[SubjectId], wanted: Wanted<'_>, places: &'a [u16]) -> Self {
        match Places::of(table, wanted) {
            Places::None => Self::Nothing,
            Places::One(place) => Self::Word(places, place as u16),
            Places::Some(chosen) => Self::Words(places, chosen),
        }
    }

    /// Returns the first at or after `from` among those that are there.
    pub(crate) fn next(&self, from: usize, present: &Present) -> Option<usize> {
        over!(self, self.next_present(from, present), |items, test| {
            first(items.get(from..)?, test).map(|at| from + at)
        })
    }

    /// Returns the last at or before `until` among those that are there.
    pub(crate) fn previous(&self, until: usize, present: &Present) -> Option<usize> {
        over!(self, self.previous_present(until, present), |items, test| {
            last(&items[..items.len().min(until + 1)], test)
        })
    }

    /// Counts those at or after `from` that are there.
    pub(crate) fn count(&self, from: usize, present: &Present) -> usize {
        over!(self, self.count_present(from, present), |items, test| {
            // The count of a chunk fits into a byte, so that many bytes are added at a time.
            let add = |count: u8, item: &_| count.wrapping_add(u8::from(test(*item)));
            let chunks = items.get(from..).unwrap_or_default().chunks(128);
            chunks.map(|chunk| usize::from(chunk.iter().fold(0, add))).sum()
        })
    }

    fn next_present(&self, from: usize, present: &Present) -> Option<usize> {
        if let Self::At(place) = self {
            return Some(*place).filter(|place| *place >= from && present.contains(*place));
        }
        if let Self::Near(table, places, set) = self {
            let near = places.get(from..)?.iter().take(NEAR).position(selected(table, set));
            let all = || Self::words(table, Wanted::Any(set), places).next(from, present);
            return near.map(|at| from + at).or_else(all);
        }
        let mut low = present.next(from)?;
        let Self::Row(first, set) = self else { return Some(low) };
        loop {
            let id = first.wrapping_add(low as SubjectId) as usize;
            let selected = low + set.next(id)? - id;
            if present.contains(selected) {
                return Some(selected);
            }
            low = present.next(selected)?;
        }
    }

    fn previous_present(&self, until: usize, present: &Present) -> Option<usize> {
        if let Self::At(place) = self {
            return Some(*place).filter(|place| *place <= until && present.contains(*place));
        }
        if let Self::Near(table, places, set) = self {
            let end = places.len().min(until + 1);
            let start = end.saturating_sub(NEAR);
            let near = places[start..end].iter().rposition(selected(table, set));
            let all = || Self::words(table, Wanted::Any(set), places).previous(until, present);
            return near.map(|at| start + at).or_else(all);
        }
        let mut low = present.previous(until)?;
        let Self::Row(first, set) = self else { return Some(low) };
        loop {
            let id = first.wrapping_add(low as SubjectId) as usize;
            let selected = low.checked_sub(id - set.previous(id)?)?;
            if present.contains(selected) {
                return Some(selected);
            }
            low = present.previous(selected)?;
        }
    }

    fn count_present(&self, from: usize, present: &Present) -> usize {
        match self {
            Self::All => present.count_from(from),
            Self::At(place) => usize::from(*place >= from && present.contains(*place)),
            Self::Near(table, places, set) => {
                Self::words(table, Wanted::Any(set), places).count(from, present)
            }
            _ => {
                let next = |from| self.next_present(from, present);
                std::iter::successors(next(from), |low| next(low + 1)).count()
            }
        }
    }
}

/// The messages of a long table that are looked at one by one, before all of the table are.
const NEAR: usize = 512;

/// Returns the test whether the subject at a place of a table is one of several.
fn selected<'a>(table: &'a [SubjectId], set: &'a Bits) -> impl Fn(&u16) -> bool + use<'a> {
    move |place| *place != 0 && set.contains(table[usize::from(*place) - 1] as usize)
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
