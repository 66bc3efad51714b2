//! Descriptions of Go types.

/// A Go struct.
#[derive(Debug)]
pub struct Record {
    /// The name of the type, without its package.
    pub name: &'static str,
    /// The members.
    pub fields: &'static [Field],
}

/// A member of a struct.
#[derive(Debug)]
pub struct Field {
    /// Its name in JSON.
    pub name: &'static str,
    /// Its type.
    pub shape: Shape,
}

/// A Go type.
#[derive(Clone, Copy, Debug)]
pub enum Shape {
    /// `bool`.
    Bool,
    /// `string`.
    String,
    /// `int`, `int32`, `int64`, `time.Duration`: the name and the largest number.
    Int(&'static str, i64),
    /// `uint64`.
    Uint,
    /// `time.Time`.
    Time,
    /// A type that decodes itself from one of several texts.
    Choice(&'static Choice),
    /// A slice: the name of its type, and the type of the elements.
    List(&'static str, &'static Shape),
    /// `map[string]string`.
    Map,
    /// `map[string]uint64`.
    Counts,
    /// A struct, or a pointer to one.
    Record(&'static Record),
    /// An embedded struct, whose members belong to the outer one.
    Embedded(&'static Record),
}

impl Shape {
    /// `int`.
    pub const INT: Self = Self::Int("int", i64::MAX);
    /// `int64`.
    pub const INT64: Self = Self::Int("int64", i64::MAX);
    /// `int32`.
    pub const INT32: Self = Self::Int("int32", i32::MAX as i64);
    /// `time.Duration`.
    pub const DURATION: Self = Self::Int("time.Duration", i64::MAX);
    /// `[]string`.
    pub const STRINGS: Self = Self::List("[]string", &Self::String);
}

/// A type that decodes itself from one of several texts.
#[derive(Debug)]
pub struct Choice {
    /// The texts, each with its decoded value.
    pub texts: &'static [(&'static str, &'static str)],
    /// Letters match regardless of case.
    pub ignores_case: bool,
    /// Returns the error for other JSON.
    pub error: fn(&[u8]) -> String,
}
