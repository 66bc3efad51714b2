//! The states of subjects with several messages.

use hashbrown::HashMap;

use super::subject_id::SubjectId;

type Map<V> = HashMap<SubjectId, V, foldhash::fast::RandomState>;

/// The number of subjects below which lists are used whatever the subjects have: they are small, and read without a search.
const FEW_SUBJECTS: usize = 2048;

/// The part of all subjects up to which those with several messages are in a table; a quarter of it brings them back there.
const IN_TABLE: usize = 8;

/// The last sequence and the number of messages of a subject.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Rest {
    pub(super) last: u64,
    pub(super) messages: u64,
}

/// The last sequences and the counts of the subjects with several messages. A subject with one message needs no room here.
pub(super) struct Several {
    form: Form,
    /// The number of subjects with several messages.
    count: usize,
}

enum Form {
    /// By number, which is a place in lists. Few subjects have more messages than 32 bits count.
    Lists { lasts: Vec<u64>, messages: Vec<u32>, higher: Map<u32> },
    /// A table, as long as most subjects have one message.
    Table(Map<Rest>),
}

impl Default for Several {
    fn default() -> Self {
        Self { form: Form::lists(), count: 0 }
    }
}

impl Several {
    /// Returns the state of a subject with several messages.
    pub(super) fn get(&self, id: SubjectId) -> Option<Rest> {
        match &self.form {
            Form::Table(table) => table.get(&id).copied(),
            Form::Lists { lasts, messages, higher } => {
                let higher = if higher.is_empty() { 0 } else { *higher.get(&id).unwrap_or(&0) };
                let messages = *messages.get(id as usize)?;
                let messages = u64::from(higher) << 32 | u64::from(messages);
                Some(Rest { last: lasts[id as usize], messages })
            }
        }
    }

    /// Adds a subject to the `subjects` that there are.
    pub(super) fn add(&mut self, id: SubjectId, rest: Rest, subjects: usize) {
        self.count += 1;
        self.set(id, rest);
        if matches!(self.form, Form::Table(_)) && self.count > subjects / IN_TABLE {
            self.change_form(Form::lists());
        }
    }

    /// Replaces the state of a subject.
    pub(super) fn set(&mut self, id: SubjectId, rest: Rest) {
        self.form.set(id, rest);
    }

    /// Removes a subject.
    pub(super) fn remove(&mut self, id: SubjectId) {
        self.count -= 1;
        match &mut self.form {
            Form::Table(table) => _ = table.remove(&id),
            Form::Lists { messages, higher, .. } => {
                messages[id as usize] = 0;
                higher.remove(&id);
            }
        }
    }

    /// Takes the form that is best for a number of subjects, which has doubled.
    pub(super) fn settle(&mut self, subjects: usize) {
        let few = subjects >= FEW_SUBJECTS && self.count < subjects / IN_TABLE / 4;
        if few && matches!(self.form, Form::Lists { .. }) {
            self.change_form(Form::Table(Map::default()));
        }
    }

    /// Returns the approximate bytes of its memory.
    #[cfg(test)]
    pub(super) fn bytes(&self) -> usize {
        match &self.form {
            Form::Table(table) => table.len() * size_of::<(SubjectId, Rest)>(),
            Form::Lists { lasts, messages, .. } => lasts.capacity() * 8 + messages.capacity() * 4,
        }
    }

    fn change_form(&mut self, form: Form) {
        match std::mem::replace(&mut self.form, form) {
            Form::Table(table) => table.into_iter().for_each(|(id, rest)| self.set(id, rest)),
            Form::Lists { lasts, messages, higher } => {
                for (id, (last, low)) in lasts.into_iter().zip(messages).enumerate() {
                    let id = id as SubjectId;
                    let high = *higher.get(&id).unwrap_or(&0);
                    let messages = u64::from(high) << 32 | u64::from(low);
                    if messages > 0 {
                        self.set(id, Rest { last, messages });
                    }
                }
            }
        }
    }
}

impl Form {
    fn lists() -> Self {
        Self::Lists { lasts: Vec::new(), messages: Vec::new(), higher: Map::default() }
    }

    fn set(&mut self, id: SubjectId, rest: Rest) {
        match self {
            Self::Table(table) => _ = table.insert(id, rest),
            Self::Lists { lasts, messages, higher } => {
                let at = id as usize;
                if at >= lasts.len() {
                    lasts.resize(at + 1, 0);
                    messages.resize(at + 1, 0);
                }
                (lasts[at], messages[at]) = (rest.last, rest.messages as u32);
                let high = (rest.messages >> 32) as u32;
                if high > 0 || !higher.is_empty() {
                    higher.insert(id, high);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::random::Random;

    #[test]
    fn both_forms_agree_with_a_map() {
        let mut random = Random::new(3);
        let (mut several, mut map) = (Several::default(), BTreeMap::new());
        let (mut forms, mut subjects) = (Vec::new(), 0_usize);
        for step in 0..60_000_u64 {
            subjects += 1;
            if subjects.is_power_of_two() {
                several.settle(subjects);
            }
            // Most of them become subjects with several messages for a while.
            let changes =
                if (20_000..40_000).contains(&step) { 3 } else { u64::from(step % 200 == 0) };
            for _ in 0..changes {
                let id = random.below(subjects as u64) as SubjectId;
                let messages = 2 + random.below(3) * (u64::from(u32::MAX) - 1);
                let rest = Rest { last: step, messages };
                match map.insert(id, rest) {
                    None => several.add(id, rest, subjects),
                    Some(_) => several.set(id, rest),
                }
            }
            if step > 40_000 {
                for _ in 0..4 {
                    if let Some((id, _)) = map.pop_first() {
                        several.remove(id);
                    }
                }
            }
            let form = matches!(several.form, Form::Table(_));
            if forms.last() != Some(&form) {
                forms.push(form);
                map.iter().for_each(|(id, rest)| assert_eq!(several.get(*id), Some(*rest)));
            }
            assert_eq!(several.count, map.len());
            let id = random.below(subjects as u64) as SubjectId;
            if let Some(rest) = map.get(&id) {
                assert_eq!(several.get(id), Some(*rest), "step {step}");
            }
        }
        assert_eq!(forms, [false, true, false], "lists, a table, lists");
        several.settle(1 << 20);
        assert!(matches!(several.form, Form::Table(_)), "few subjects have several messages again");
        map.iter().for_each(|(id, rest)| assert_eq!(several.get(*id), Some(*rest)));
    }
}
