//! The examples of the standards.

use base64::Engine;

use super::{is_taken, with_file};
use crate::key_set::KeySet;
use crate::token::{BASE64URL, Token};

/// RFC 7515, appendices A.1 to A.3: what is signed is about 2011.
const PAYLOAD: &str = "eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ";

const EXAMPLES: [(&str, &str, &str); 3] = [
    (
        r#"{"kty":"oct","k":"AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow"}"#,
        "eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9",
        "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk",
    ),
    (
        r#"{"kty":"RSA","n":"ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddxHmfHQp-Vaw-4qPCJrcS2mJPMEzP1Pt0Bm4d4QlL-yRT-SFd2lZS-pCgNMsD1W_YpRPEwOWvG6b32690r2jZ47soMZo9wGzjb_7OMg0LOL-bSf63kpaSHSXndS5z5rexMdbBYUsLA9e-KXBdQOS-UTo7WTBEMa2R2CapHg665xsmtdVMTBQY4uDZlxvb3qCo5ZwKh9kG4LT6_I5IhlJH7aGhyxXFvUK-DWNmoudF8NAco9_h9iaGNj8q2ethFkMLs91kzk2PAcDTW9gb54h4FRWyuXpoQ","e":"AQAB"}"#,
        "eyJhbGciOiJSUzI1NiJ9",
        "cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7AAuHIm4Bh-0Qc_lF5YKt_O8W2Fp5jujGbds9uJdbF9CUAr7t1dnZcAcQjbKBYNX4BAynRFdiuB--f_nZLgrnbyTyWzO75vRK5h6xBArLIARNPvkSjtQBMHlb1L07Qe7K0GarZRmB_eSN9383LcOLn6_dO--xi12jzDwusC-eOkHWEsqtFZESc6BfI7noOPqvhJ1phCnvWh6IeYI2w9QOYEUipUTI8np6LbgGY9Fs98rqVt5AXLIhWkWywlVmtVrBp0igcN_IoypGlUPQGe77Rw",
    ),
    (
        r#"{"kty":"EC","crv":"P-256","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU","y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"}"#,
        "eyJhbGciOiJFUzI1NiJ9",
        "DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q",
    ),
];

#[test]
fn the_examples_of_rfc_7515_are_taken_before_they_expire_and_not_after() {
    for (key, header, signature) in EXAMPLES {
        let token = format!("{header}.{PAYLOAD}.{signature}");
        let mut hooked = with_file(key, r#", "issuer": "joe""#).unwrap();
        hooked.set_wall_ms(1_300_819_379_999);
        assert!(is_taken(&mut hooked, &token), "{key}");
        hooked.set_wall_ms(1_300_819_380_000);
        assert!(!is_taken(&mut hooked, &token), "{key}");
    }
}

#[test]
fn the_signature_of_rfc_8037_is_verified() {
    let key = r#"{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}"#;
    let token = "eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc.hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg";
    let (keys, skipped) = KeySet::read(key.as_bytes()).unwrap();
    assert!(skipped.is_empty());
    let token = Token::parse(token.as_bytes()).unwrap();
    let key = keys.candidates(token.algorithm, None).next().unwrap();
    assert!(key.verifies(token.algorithm, token.message, &token.signature));
    assert!(!key.verifies(token.algorithm, b"another message", &token.signature));
    // What it says is no object, and so no token for anything.
    assert!(token.claims().is_err());
    assert_eq!(
        BASE64URL.encode("Example of Ed25519 signing"),
        "RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc"
    );
}
