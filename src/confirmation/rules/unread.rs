//! Which fields of the model rules read, and which of them stand in the provider's body and could not be read: a rule that reads
//! such a field is not asked.
//! Pure: must not know how a rule is written or a body read.

use std::collections::HashSet;

use super::shape::ModelPart;
use crate::provider::smart_glocal::api::OPERATION_LISTS;

/// A field of the model: of which part, and its name.
pub type Field = (ModelPart, &'static str);

/// The fields of one session that could not be read.
#[derive(Debug, Default)]
pub struct UnreadFields {
    fields: HashSet<Field>,
    /// There are more than were named.
    and_others: bool,
}

impl UnreadFields {
    /// By the paths that the event's metadata names.
    pub fn of(paths: &[String]) -> Self {
        let fields = paths.iter().flat_map(|path| fields(path)).copied().collect();
        Self { fields, and_others: paths.iter().any(|path| path == "…") }
    }

    /// Whether one of these fields could not be read.
    pub fn has_any_of(&self, read: &HashSet<Field>) -> bool {
        self.and_others || !self.fields.is_disjoint(read)
    }
}

/// The fields of the model that are made of what stands at this path of a Smart Glocal body.
fn fields(path: &str) -> &'static [Field] {
    let names: Vec<&str> = path.split('.').map(|name| name.split('[').next().unwrap_or_default()).collect();
    match names.as_slice() {
        ["session", "status"] => &[(ModelPart::Session, "status")],
        ["session", "next_action"] => &[(ModelPart::Session, "next_action")],
        ["session", "created_at"] => &[(ModelPart::Session, "created_at")],
        ["session", "updated_at"] => &[(ModelPart::Session, "updated_at")],
        ["session", list, inside @ ..] if OPERATION_LISTS.contains(list) => fields_of_operation(inside),
        _ => &[],
    }
}

fn fields_of_operation(names: &[&str]) -> &'static [Field] {
    match names {
        [] => &[(ModelPart::Session, "operations")],
        ["id"] => &[(ModelPart::Operation, "id")],
        ["status"] => &[(ModelPart::Operation, "status")],
        ["amount_details"] => &[(ModelPart::Operation, "amount")],
        ["amount_details", "amount"] => &[(ModelPart::Operation, "amount"), (ModelPart::Amount, "minor_units")],
        ["amount_details", "currency"] => &[(ModelPart::Amount, "currency"), (ModelPart::Amount, "exponent")],
        ["customer"] => &[(ModelPart::Operation, "customer")],
        ["customer", "reference"] => &[(ModelPart::Customer, "reference")],
        ["payout_details" | "payment_details" | "payment_method"] => &[(ModelPart::Operation, "instrument")],
        ["payout_details" | "payment_details" | "payment_method", "type"] => &[(ModelPart::Instrument, "type")],
        ["payout_details" | "payment_details" | "payment_method", "card"] => &[(ModelPart::Instrument, "card")],
        ["payout_details" | "payment_details" | "payment_method", "card", field] => match *field {
            "brand" => &[(ModelPart::Card, "brand")],
            "bin" => &[(ModelPart::Card, "bin")],
            "last4" => &[(ModelPart::Card, "last4")],
            _ => &[],
        },
        _ => &[],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_path_that_the_model_is_made_of_has_its_fields() {
        for (path, expect) in [
            ("session.status", Some((ModelPart::Session, "status"))),
            ("session.payments", Some((ModelPart::Session, "operations"))),
            ("session.payout_list[3]", Some((ModelPart::Session, "operations"))),
            ("session.payout_list[3].amount_details", Some((ModelPart::Operation, "amount"))),
            ("session.acquiring_payments[0].customer.reference", Some((ModelPart::Customer, "reference"))),
            ("session.payments[12].payout_details.card.bin", Some((ModelPart::Card, "bin"))),
            ("session.payments[12].transaction_info", None),
            ("session.error", None),
            ("type", None),
        ] {
            assert_eq!(fields(path).first().copied(), expect, "{path}");
        }
    }

    #[test]
    fn what_is_not_named_any_more_may_be_any_field() {
        let read = HashSet::from([(ModelPart::Session, "id")]);
        assert!(!UnreadFields::of(&["session.status".to_owned()]).has_any_of(&read));
        assert!(UnreadFields::of(&["session.status".to_owned(), "…".to_owned()]).has_any_of(&read));
    }

    /// A field that the model gets must be one that a rule can be found to read.
    #[test]
    fn names_no_field_that_the_model_has_not() {
        let paths = [
            "id",
            "status",
            "amount_details.amount",
            "amount_details.currency",
            "customer",
            "customer.reference",
            "payment_method",
            "payment_method.type",
            "payment_method.card",
            "payment_method.card.brand",
            "payment_method.card.last4",
        ];
        for path in paths {
            let found = fields(&format!("session.payments[0].{path}"));
            assert!(!found.is_empty() && found.iter().all(|(part, name)| part.field(name).is_some()), "{path}");
        }
    }
}
