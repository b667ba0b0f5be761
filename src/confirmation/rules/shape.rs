//! What a rule can see of a session: its parts, their fields, and the shape of each value.
//! Pure: must not know how a rule is written or a session received.

use std::fmt;

use super::known_field::KnownField;

/// An object of the model.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ModelPart {
    /// `session` itself.
    Session,
    /// An element of its `operations`.
    Operation,
    /// An operation's `amount`.
    Amount,
    /// An operation's `customer`.
    Customer,
    /// An operation's `instrument`.
    Instrument,
    /// An instrument's `card`.
    Card,
}

impl ModelPart {
    /// Every part.
    pub const ALL: [Self; 6] =
        [Self::Session, Self::Operation, Self::Amount, Self::Customer, Self::Instrument, Self::Card];

    /// Its fields, in the order of the documentation.
    pub fn fields(self) -> Vec<(&'static str, Shape)> {
        match self {
            Self::Session => vec![
                ("id", Shape::Text),
                ("source", Shape::Known(KnownField::Source)),
                ("status", Shape::Known(KnownField::SessionStatus)),
                ("next_action", Shape::Known(KnownField::NextAction)),
                ("created_at", Shape::Time),
                ("updated_at", Shape::Time),
                ("operations", Shape::Each(Box::new(Shape::Part(Self::Operation)))),
            ],
            Self::Operation => vec![
                ("id", Shape::Text),
                ("kind", Shape::Known(KnownField::Kind)),
                ("status", Shape::Known(KnownField::OperationStatus)),
                ("amount", Shape::Part(Self::Amount)),
                ("customer", Shape::Part(Self::Customer)),
                ("instrument", Shape::Part(Self::Instrument)),
                ("metadata", Shape::Any),
            ],
            Self::Amount => {
                vec![
                    ("currency", Shape::Known(KnownField::Currency)),
                    ("minor_units", Shape::Known(KnownField::MinorUnits)),
                    ("exponent", Shape::Number),
                ]
            }
            Self::Customer => vec![("reference", Shape::Text)],
            Self::Instrument => vec![("type", Shape::Text), ("card", Shape::Part(Self::Card))],
            Self::Card => vec![("brand", Shape::Text), ("bin", Shape::Text), ("last4", Shape::Text)],
        }
    }

    /// Whether a session that rules are asked about may be without this field.
    pub fn may_be_absent(self, name: &str) -> bool {
        match self {
            Self::Session => !matches!(name, "id" | "source" | "operations"),
            Self::Operation => !matches!(name, "id" | "kind" | "amount"),
            Self::Amount => name == "exponent",
            Self::Customer | Self::Instrument | Self::Card => true,
        }
    }

    /// One field's name in the model, and its shape; nothing when there is no such field.
    pub fn field(self, name: &str) -> Option<(&'static str, Shape)> {
        self.fields().into_iter().find(|(known, _)| *known == name)
    }
}

impl fmt::Display for ModelPart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Session => "the session",
            Self::Operation => "an operation",
            Self::Amount => "an amount",
            Self::Customer => "a customer",
            Self::Instrument => "an instrument",
            Self::Card => "a card",
        })
    }
}

/// What kind of value stands at a place of a rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Shape {
    /// Anything: what the merchant attached to an operation, and what is computed from it.
    Any,
    /// The element of a list that has none.
    Nothing,
    /// True or false.
    Truth,
    /// An integer, or a number with a fraction.
    Number,
    /// Text.
    Text,
    /// The value of a field that does not have just any text or number.
    Known(KnownField),
    /// An instant.
    Time,
    /// The length of a time.
    Span,
    /// Bytes.
    Bytes,
    /// `null`, which no field of the model ever is.
    Null,
    /// An object of the model.
    Part(ModelPart),
    /// A list whose elements have this shape.
    Each(Box<Shape>),
}

impl Shape {
    /// The shape of what is one or the other.
    #[must_use]
    pub fn or(self, other: Self) -> Self {
        match (self, other) {
            (Self::Nothing, shape) | (shape, Self::Nothing) => shape,
            (Self::Each(one), Self::Each(other)) => Self::Each(Box::new(one.or(*other))),
            (one, other) if one == other => one,
            (one, other) if one.kind() == other.kind() => one.kind(),
            (_, _) => Self::Any,
        }
    }

    /// Whether nothing can have both shapes.
    pub fn excludes(&self, other: &Self) -> bool {
        let open = |shape: &Self| matches!(shape, Self::Any | Self::Nothing);
        match (self, other) {
            (one, other) if open(one) || open(other) => false,
            (Self::Each(one), Self::Each(other)) => one.excludes(other),
            (one, other) => one.kind() != other.kind(),
        }
    }

    /// The same without what is known of a field.
    #[must_use]
    pub fn kind(&self) -> Self {
        match self {
            Self::Known(KnownField::MinorUnits) => Self::Number,
            Self::Known(_) => Self::Text,
            other => other.clone(),
        }
    }

    /// Whether it is one value, of a size that does not grow with the session.
    pub fn is_single(&self) -> bool {
        match self {
            Self::Truth
            | Self::Number
            | Self::Text
            | Self::Known(_)
            | Self::Time
            | Self::Span
            | Self::Bytes
            | Self::Null => true,
            Self::Any | Self::Nothing | Self::Part(_) | Self::Each(_) => false,
        }
    }
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Any => "anything",
            Self::Nothing => "nothing",
            Self::Truth => "true or false",
            Self::Number => "a number",
            Self::Text => "text",
            Self::Time => "a time",
            Self::Span => "a duration",
            Self::Bytes => "bytes",
            Self::Null => "null",
            Self::Known(_) => return self.kind().fmt(f),
            Self::Part(part) => return part.fmt(f),
            Self::Each(_) => "a list",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shapes_join_and_exclude_each_other() {
        let each = |shape| Shape::Each(Box::new(shape));
        assert_eq!(Shape::Text.or(Shape::Text), Shape::Text);
        assert_eq!(Shape::Text.or(Shape::Number), Shape::Any);
        assert_eq!(Shape::Text.or(Shape::Known(KnownField::Kind)), Shape::Text);
        assert_eq!(each(Shape::Nothing).or(each(Shape::Text)), each(Shape::Text));
        for (one, other, expected) in [
            (Shape::Text, Shape::Number, true),
            (Shape::Text, Shape::Null, true),
            (each(Shape::Text), Shape::Text, true),
            (each(Shape::Text), each(Shape::Number), true),
            (each(Shape::Nothing), each(Shape::Number), false),
            (Shape::Any, Shape::Number, false),
            (Shape::Text, Shape::Text, false),
            (Shape::Known(KnownField::Kind), Shape::Text, false),
            (Shape::Known(KnownField::Kind), Shape::Known(KnownField::Currency), false),
            (Shape::Known(KnownField::Kind), Shape::Known(KnownField::MinorUnits), true),
        ] {
            assert_eq!(one.excludes(&other), expected, "{one:?} {other:?}");
            assert_eq!(other.excludes(&one), expected, "{other:?} {one:?}");
        }
    }
}
