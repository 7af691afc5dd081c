//! `body!`: what a request body may hold, written down once. Out of the one table come the struct that handlers read, the
//! check, and the schema in the served description.

use serde_json::Value;
use utoipa::ToSchema;
use utoipa::openapi::RefOr;
use utoipa::openapi::schema::{AllOfBuilder, ObjectBuilder, OneOfBuilder, Schema, SchemaType, Type};

use super::Fields;
use super::rules::{Named, Rule};

/// How a field may be left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::api) enum Presence {
    /// Not at all.
    Required,
    /// By not naming it.
    Settable,
    /// By not naming it, or with null.
    Optional,
}

/// One field, for the description.
pub(in crate::api) struct Field {
    name: &'static str,
    about: String,
    presence: Presence,
    schema: RefOr<Schema>,
    default: Option<Value>,
    example: Value,
}

impl Field {
    /// As `body!` has it.
    pub(in crate::api) fn new(
        name: &'static str,
        about: &[&str],
        presence: Presence,
        rule: &impl Rule,
        default: Option<Value>,
        example: Value,
    ) -> Self {
        Self { name, about: prose(about), presence, schema: rule.schema(), default, example }
    }

    /// In a body that changes something, what is absent stays: only null takes a field back to its default, and a client
    /// that fills in defaults by itself must find none.
    fn of_change(mut self) -> Self {
        if let Some(default) = self.default.take() {
            self.about = format!("{} Null takes it back to {default}.", self.about);
        }
        self
    }

    fn into_schema(self) -> RefOr<Schema> {
        let is_nullable = self.presence == Presence::Optional;
        let (about, example) = (Some(self.about), vec![self.example]);
        match self.schema {
            RefOr::T(Schema::Object(mut object)) => {
                if is_nullable {
                    object.schema_type = nullable(object.schema_type);
                }
                (object.description, object.default, object.examples) = (about, self.default, example);
                object.into()
            }
            RefOr::T(Schema::Array(mut array)) => {
                if is_nullable {
                    array.schema_type = nullable(array.schema_type);
                }
                (array.description, array.default, array.examples) = (about, self.default, example);
                array.into()
            }
            named if is_nullable => {
                let choices = OneOfBuilder::new().item(ObjectBuilder::new().schema_type(Type::Null)).item(named);
                Schema::OneOf(choices.description(about).default(self.default).examples(example).build()).into()
            }
            named => {
                let all = AllOfBuilder::new().item(named);
                Schema::AllOf(all.description(about).default(self.default).examples(example).build()).into()
            }
        }
    }
}

fn nullable(kind: SchemaType) -> SchemaType {
    match kind {
        SchemaType::Type(kind) => SchemaType::Array(vec![kind, Type::Null]),
        other => other,
    }
}

/// Doc comments as text.
pub(in crate::api) fn prose(lines: &[&str]) -> String {
    lines.iter().map(|line| line.trim()).collect::<Vec<_>>().join(" ").trim().to_owned()
}

/// A body that `body!` describes.
pub(in crate::api) trait Body: ToSchema + Sized {
    /// Whether it changes what is there: absent fields then stay as they are.
    const CHANGES: bool;

    /// For those who write it.
    fn about() -> String;

    /// Every field, those of its parts too.
    fn fields() -> Vec<Field>;

    /// Reads it; violations stay in `fields`. `None` when a required field is not there, which is a violation too.
    fn take(fields: &mut Fields) -> Option<Self>;

    /// Schemas of the objects in it.
    fn nested(named: &mut Named);
}

/// As JSON Schema. Unknown fields are not forbidden: they are passed over.
pub(in crate::api) fn schema_of<B: Body>() -> RefOr<Schema> {
    let schema = ObjectBuilder::new().schema_type(Type::Object).description(Some(B::about()));
    let describe = |schema: ObjectBuilder, field: Field| {
        let field = if B::CHANGES { field.of_change() } else { field };
        let (name, presence) = (field.name, field.presence);
        let schema = schema.property(name, field.into_schema());
        if presence == Presence::Required { schema.required(name) } else { schema }
    };
    B::fields().into_iter().fold(schema, describe).into()
}

/// ```text
/// body! {
///     /// What the body is, for the description.
///     struct Name (creates) {            // or (changes): absent fields stay as they are
///         /// What the field is, for the description.
///         required name: Type = rule, example "one";
///         settable name: Type = rule, example 5;                    // Option<Type>; null is refused
///         optional name: Type = rule, default 1, example null;      // Given<Type>; null is told apart
///         part rest: Other;                                         // the fields of another body
///     }
/// }
/// ```
macro_rules! body {
    (
        $(#[doc = $about:literal])*
        struct $name:ident ($kind:ident) {
            $($(#[doc = $doc:literal])* $how:ident $field:ident: $type:ty $(= $rule:expr $(, default $default:tt)?, example $example:tt)?;)*
        }
    ) => {
        $(#[doc = $about])*
        #[derive(Debug)]
        pub(in crate::api) struct $name {
            $($(#[doc = $doc])* pub(in crate::api) $field: $crate::api::fields::body!(@type $how $type),)*
        }

        impl $crate::api::fields::Body for $name {
            const CHANGES: bool = $crate::api::fields::body!(@changes $kind);

            fn about() -> String {
                $crate::api::fields::prose(&[$($about),*])
            }

            fn fields() -> Vec<$crate::api::fields::Field> {
                let parts = [$($crate::api::fields::body!(
                    @describe [$($doc),*] $how $field: $type $(= $rule $(, $default)?; $example)?
                )),*];
                parts.into_iter().flatten().collect()
            }

            fn take(fields: &mut $crate::api::fields::Fields) -> Option<Self> {
                // All are read before any is missed.
                $(let $field = $crate::api::fields::body!(@read fields $how $field: $type $(= $rule)?);)*
                Some(Self { $($field: $crate::api::fields::body!(@take $how $field)),* })
            }

            fn nested(named: &mut $crate::api::fields::Named) {
                $($crate::api::fields::body!(@nested named $how $type $(= $rule)?);)*
            }
        }

        impl utoipa::PartialSchema for $name {
            fn schema() -> utoipa::openapi::RefOr<utoipa::openapi::schema::Schema> {
                $crate::api::fields::schema_of::<Self>()
            }
        }

        impl utoipa::ToSchema for $name {
            fn schemas(named: &mut $crate::api::fields::Named) {
                <Self as $crate::api::fields::Body>::nested(named);
            }
        }
    };

    (@changes creates) => { false };
    (@changes changes) => { true };

    (@type required $type:ty) => { $type };
    (@type settable $type:ty) => { Option<$type> };
    (@type optional $type:ty) => { $crate::api::fields::Given<$type> };
    (@type part $type:ty) => { $type };

    (@read $fields:ident required $field:ident: $type:ty = $rule:expr) => {
        $fields.required(stringify!($field), $rule)
    };
    (@read $fields:ident settable $field:ident: $type:ty = $rule:expr) => {
        $fields.settable(stringify!($field), $rule).value()
    };
    (@read $fields:ident optional $field:ident: $type:ty = $rule:expr) => {
        $fields.optional(stringify!($field), $rule)
    };
    (@read $fields:ident part $field:ident: $type:ty) => {
        <$type as $crate::api::fields::Body>::take($fields)
    };

    (@take required $field:ident) => { $field? };
    (@take settable $field:ident) => { $field };
    (@take optional $field:ident) => { $field };
    (@take part $field:ident) => { $field? };

    (@describe [$($doc:literal),*] part $field:ident: $type:ty) => {
        <$type as $crate::api::fields::Body>::fields()
    };
    (
        @describe [$($doc:literal),*] $how:ident $field:ident: $type:ty
        = $rule:expr $(, $default:tt)?; $example:tt
    ) => {
        vec![$crate::api::fields::Field::new(
            stringify!($field),
            &[$($doc),*],
            $crate::api::fields::body!(@presence $how),
            &$rule,
            [$(serde_json::json!($default))?].into_iter().next(),
            serde_json::json!($example),
        )]
    };

    (@presence required) => { $crate::api::fields::Presence::Required };
    (@presence settable) => { $crate::api::fields::Presence::Settable };
    (@presence optional) => { $crate::api::fields::Presence::Optional };

    (@nested $named:ident part $type:ty) => { <$type as $crate::api::fields::Body>::nested($named) };
    (@nested $named:ident $how:ident $type:ty = $rule:expr) => {
        $crate::api::fields::Rule::named(&$rule, $named)
    };
}
pub(in crate::api) use body;
