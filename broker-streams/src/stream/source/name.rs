//! The names of feeds and their consumers.

use crate::config::StreamSource;
use crate::consumer::AckSubject;
use crate::hash::hash;

/// Returns the name that tells a source from others: stream, filters and destinations.
// NATS 2.14: stream.go composeIName.
pub(super) fn index_name(source: &StreamSource) -> String {
    let mut name = source.name.clone();
    if let Some(external) = &source.external {
        name = format!("{name}:{}", hash(&external.api_prefix));
    }
    if let Some(consumer) = &source.consumer {
        name = format!("{name}:C={}", hash(&consumer.name));
    }
    let or_all = |text: &str| if text.is_empty() { ">" } else { text }.to_owned();
    if source.subject_transforms.is_empty() {
        return format!("{name} {} >", or_all(&source.filter_subject));
    }
    let transforms = &source.subject_transforms;
    let filters: Vec<_> = transforms.iter().map(|one| or_all(&one.source)).collect();
    let destinations: Vec<_> = transforms.iter().map(|one| or_all(&one.destination)).collect();
    format!("{name} {} {}", filters.join("\x0c"), destinations.join("\x0c"))
}

/// Returns the field that a message of a source is stored with.
// NATS 2.14: stream.go genSourceHeader.
pub(super) fn source_field(index: &str, sequence: u64, subject: &[u8]) -> Vec<u8> {
    let mut words = index.splitn(2, ' ');
    let (name, rest) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let mut field = format!("{name} {sequence} {rest} ").into_bytes();
    field.extend_from_slice(subject);
    field
}

/// Reads such a field: the name of the source, and the sequence. Servers before 2.10 named only the stream, and those before
/// 2.2 wrote the subject of an acknowledgement.
// NATS 2.14: stream.go streamAndSeq.
pub(super) fn read_source_field(field: &[u8]) -> Option<(String, u64)> {
    if let Some(ack) = AckSubject::parse(field) {
        return Some((String::from_utf8(ack.stream.to_vec()).ok()?, ack.stream_sequence));
    }
    let text = std::str::from_utf8(field).ok()?;
    let words: Vec<_> = text.split(' ').collect();
    let sequence = words.get(1)?.parse().ok()?;
    match words[..] {
        [name, _, filters, destinations, ..] => {
            Some((format!("{name} {filters} {destinations}"), sequence))
        }
        [name, _] => Some((name.to_owned(), sequence)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_names_its_source() {
        let source = StreamSource { name: "A".into(), ..StreamSource::default() };
        let index = index_name(&source);
        assert_eq!(index, "A > >");
        let field = source_field(&index, 7, b"a.b");
        assert_eq!(field, b"A 7 > > a.b");
        assert_eq!(read_source_field(&field), Some((index, 7)));
        assert_eq!(read_source_field(b"A 7"), Some(("A".to_owned(), 7)));
        let ack = b"$JS.ACK.A.C.1.7.3.0.0";
        assert_eq!(read_source_field(ack), Some(("A".to_owned(), 7)));
        assert_eq!(read_source_field(b"A"), None);
        assert_eq!(read_source_field(b"A 7 >"), None);
    }
}
