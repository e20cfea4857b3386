//! Keys, and tokens that were signed with them by Python's `cryptography` 48: until second
//! 1,800,000,100, of the user `ann`.

pub(super) const RSA: &str = "\
-----BEGIN PUBLIC KEY-----
MIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8AMIIBCgKCAQEAjheM9MLIwoEsjXw9IjQ/
gIFLf/RO5j/vZjsIqZ31n/kX347BJ/7Dn1Zc6UXFoWTQSdGHCNVYvC9FCKK4d84X
VR1DE99RddFxD1ozhfIPDnoKzK9Aapk/5XlpXwaK3B1dAjDQMF4RPpKxSi1GXgJh
9Xu1+ErYqc6cIbnUi4RYCDALIYrJMGVW4QhWz5oKa1UNsLlvCv1ywrXxRTTdBfz4
zLuPYB65/05bO4opju4ncn/Kbxo9XIuV0VSt93dDhINP6hNtSHk5YRweD7N3x1eT
6iwY+ffrGwq0MhzZjvXGq7Do0dFGdPvb3UFkpxjqg1ZXTJ8osTrRidghknhuOvYA
hQIDAQAB
-----END PUBLIC KEY-----
";

pub(super) const RSA_PKCS1: &str = "\
-----BEGIN RSA PUBLIC KEY-----
MIIBCgKCAQEAjheM9MLIwoEsjXw9IjQ/gIFLf/RO5j/vZjsIqZ31n/kX347BJ/7D
n1Zc6UXFoWTQSdGHCNVYvC9FCKK4d84XVR1DE99RddFxD1ozhfIPDnoKzK9Aapk/
5XlpXwaK3B1dAjDQMF4RPpKxSi1GXgJh9Xu1+ErYqc6cIbnUi4RYCDALIYrJMGVW
4QhWz5oKa1UNsLlvCv1ywrXxRTTdBfz4zLuPYB65/05bO4opju4ncn/Kbxo9XIuV
0VSt93dDhINP6hNtSHk5YRweD7N3x1eT6iwY+ffrGwq0MhzZjvXGq7Do0dFGdPvb
3UFkpxjqg1ZXTJ8osTrRidghknhuOvYAhQIDAQAB
-----END RSA PUBLIC KEY-----
";

pub(super) const P256: &str = "\
-----BEGIN PUBLIC KEY-----
MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEXNpQFU2SEJpXlkRohDx036Tjl2iG
1w4UGH8Y1vKsjmLI1jL32wLErWxUEBY7A29LSlNTtDBmtKql40+387ng9Q==
-----END PUBLIC KEY-----
";

pub(super) const P384: &str = "\
-----BEGIN PUBLIC KEY-----
MHYwEAYHKoZIzj0CAQYFK4EEACIDYgAEiBsgUubwHaLEGmeHxK2utRkQ8D3UyMNW
7sKO0wuFojdH4FW6nXlcJJ46I93kNJmRa/K+nYxPeHEUDiXPmBfh5KQOE+eMJRqA
rsXRHJzBTsVujqQqyyTx0gaLf1ptOK5g
-----END PUBLIC KEY-----
";

pub(super) const ED25519: &str = "\
-----BEGIN PUBLIC KEY-----
MCowBQYDK2VwAyEAv/NsthXmLP4cjPDfoFb14F73ddoj62ojtfT+d21qfrw=
-----END PUBLIC KEY-----
";

pub(super) const RSA_1024: &str = "\
-----BEGIN PUBLIC KEY-----
MIGfMA0GCSqGSIb3DQEBAQUAA4GNADCBiQKBgQDZ3f49Wo+6sW2QlaGJMImv5ZHo
RI2H/ejKypFHK5tPnPYVe8BnzykXysQf7GbLau67eeWoiORSDrenLGkX4vscTMOe
2X8Ovnm9qjvDkYnzFCpGvwcT87BPeGqzp6EMD+j0z2D2fh6BKiWlzMQHHUuwT498
ezRDSTCw85gdovTy3QIDAQAB
-----END PUBLIC KEY-----
";

pub(super) const PRIVATE: &str = "\
-----BEGIN PRIVATE KEY-----
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQg8ncGD8U6jurj4e/h
lpvAcK6uZ9u0jpDUtuaf4ed4VCmhRANCAARc2lAVTZIQmleWRGiEPHTfpOOXaIbX
DhQYfxjW8qyOYsjWMvfbAsStbFQQFjsDb0tKU1O0MGa0qqXjT7fzueD1
-----END PRIVATE KEY-----
";

/// Signed with the text of [`RSA`] as a secret of HS256.
pub(super) const CONFUSED: &str = "\
    eyJhbGciOiAiSFMyNTYifQ.eyJzdWIiOiAiYW5uIiwgImV4cCI6IDE4MDAwMDAxMDB9.sm8fRuuxmPhCM1kcfA7inT\
    vEqrdeYChaGiU8kZCmH8o";

/// By algorithm and key.
pub(super) const TOKENS: [(&str, &str, &str); 9] = [
    (
        "RS256",
        RSA,
        "\
         eyJhbGciOiAiUlMyNTYifQ.eyJzdWIiOiAiYW5uIiwgImV4cCI6IDE4MDAwMDAxMDB9.CqTwCg8RIt5v\
         DyPXgNuepXhJ8tHe6Iy6GdpVpnRVPTveiIB2jNvl5lfRox_6QXCRhc4cjfsMoj_q3wviPIfhvWq6QZ8Y\
         JiL19tFB8bhggDNCVaX5VZyKyTfuwc1G8jG7U4xoVWwAU3Dn0Fqzas8pVsPV6-WvU5562ehn5YzJgk2F\
         l_zOj7im8kT92YT8Jsfs_2a7t2jEHPVVItRxuy1zym_uyYSLP8aye7J8H17wP5Vi5GO22U2sGe-VLi_t\
         zTKWsUR2-QGXKfU70TKWETkU6FkemyTxZFTwRApEfUPNLc0C5T1vNzpypL89R51F7NSSR7CngDq3_f9E\
         HlLx9L7hrQ",
    ),
    (
        "RS384",
        RSA,
        "\
         eyJhbGciOiAiUlMzODQifQ.eyJzdWIiOiAiYW5uIiwgImV4cCI6IDE4MDAwMDAxMDB9.GNgWKm7az08A\
         M51B-YOnV1rZSODVSIJYvVujHAhLpBJAI2LrmSckQKbF1vyyurHsefqHoAQd3gZN0PffhdtJRcIoekOB\
         DJOmIIQo-tH_snX7aLrvAmLNgg1pG5crX0GkfOQGRspiGzMWHh3XM0Fgvekzzq1M7a_GG-eX2ZoCOJLe\
         xol42quFO-ba3tUIfNFMSPDciwkJv7Nu6mnwKyzvnH_6hAnIgd0fXVdTMF1245otzZ-L16gmOBvTaFSL\
         xCHOQAZXuspcZxXNzc-3cexlBMpFVUhHhhHUcL8a1L5tSI9ZJsnkGPl54vL9slN3FjLIYwt7LLn_t04C\
         HHQbFGzTVA",
    ),
    (
        "RS512",
        RSA,
        "\
         eyJhbGciOiAiUlM1MTIifQ.eyJzdWIiOiAiYW5uIiwgImV4cCI6IDE4MDAwMDAxMDB9.PBP-X6zACpYq\
         qJQQvx_4lI6h5966zrWLhWqZAFUCJunlVmOWA-fEahytpaCQccAl_Go4RSCaD2-2b8yrj8gJXpw_31by\
         yZBE7Y_EPD0mVtsHflLPqoR8kZN1TxkHbkEvPjm_1TkzRT-i3dtVCQmuEOZsCDXsjGfoFm96AJbQYcy3\
         zU0VZMpuFT_PUv4pbdv9UVDQQ4qALB_Mqj0HXLjRuFVevx7kUphx5L7A75BkefsZ2Fdnby6KkNde2pzf\
         Y7A06vEg6N0QdoPf3EQK5EI6slJNyDrlBCJ1AZE_4APAEgfotbwcFH2_DEhyZ_b1hqZf-ef8VH1Kclac\
         iPyBqqkDbw",
    ),
    (
        "PS256",
        RSA,
        "\
         eyJhbGciOiAiUFMyNTYifQ.eyJzdWIiOiAiYW5uIiwgImV4cCI6IDE4MDAwMDAxMDB9.M7TjmV7a795P\
         u5b9jIuqYPTI9WlTeh2_Az6RgQPnVM5jUM2ezCOa-o_SD24JJNeRtyZ8KS4ptaxuHySIUMV_hrjJnxIs\
         3yES4Vri9phR0L0QeVcwSY6_lUw9mNezsArCiLgZguWx4vPv25VjxX_YY3RhJYMWnSGVWXDOv6RrRyk-\
         UI9GOP0XfxpdnEn-3-DAW0FOz9nk5lDdbIGvugisaQ9kw_Qnrmo95wLBD46H9PsjxzjN6Az5Fl-FMu-_\
         9dQU_pT-r4C0fmFRa3FIrQJoOjiHE9UdbwNKhzncLuoHQ4vxQQUVXMv2VripRIW5lR-GfPVHgXfxYgcY\
         5sl3i78MGw",
    ),
    (
        "PS384",
        RSA,
        "\
         eyJhbGciOiAiUFMzODQifQ.eyJzdWIiOiAiYW5uIiwgImV4cCI6IDE4MDAwMDAxMDB9.fdPa5RYvHLjl\
         zkpOV39RGNnC5s_052VAJooVE_PrRIp9Yv23DBHm0wRPQwmeoGBWshU_CLd_kqkAC2qfeKJHCvpnRwfE\
         reRHGtQ8B7dI3MnzeGLGWE8C9Dq6vN_o9SB2E4XMdjyNnLtEPX9wnCnr7iEVHdt2ANEVFdGQ3_nc2_nJ\
         YG8ri_BetNvZ-JzvcJIHfJEGYYHCfLhqauIt0SV5Jid3jBKMJS9IdmiMwb1x0IodFRfY3uPuvPf2WWRi\
         tJvYsZIMxZUPDlOxZYPMiD3DJoFW2145pdM4sgRXluy_k4bnT9QGynPUiu8nA0qwyPQndZ8X4TLXHGCk\
         TG5Lpu_mRw",
    ),
    (
        "PS512",
        RSA,
        "\
         eyJhbGciOiAiUFM1MTIifQ.eyJzdWIiOiAiYW5uIiwgImV4cCI6IDE4MDAwMDAxMDB9.A7f_ZVoKmJMj\
         Fg7q4Y9F8mXv9gqvUfhNOMCRIaJIOZkIejVk7z9PJ77U6FR6CVZmpTZZk0KbCTJv82htGCpo8yKDif-8\
         puYmJHr5DNBOncl2G9DpriwBXbKFqvvZrOI3OJic2NojVfjmh8Ynf_188vO31mU2hcS0Uc80wKDN8gl9\
         oylxWdYxxHSLhNfhvgxHNgEHNPsCL0PB2w1uNgUrRs6wJwGucO3VL1wrIKrMDLUEG6_VignjtwW87-Fx\
         TE6-HGkcGTZZuH0mrffl8KNRRxag8qWFb8a-fQLTwqpDYSEScX0lP4SXWRBJU9IrI9bhmlcrPMENSYu4\
         5b-aGrF0_w",
    ),
    (
        "ES256",
        P256,
        "\
         eyJhbGciOiAiRVMyNTYifQ.eyJzdWIiOiAiYW5uIiwgImV4cCI6IDE4MDAwMDAxMDB9.vqqD5KstRiG9\
         CwaqMi1QqAefdL3yzwD2gp91UouKwRwJTyCEeG6dp63uz2lA0XOKm-7ll7EXJXZSoJaWaxBjDg",
    ),
    (
        "ES384",
        P384,
        "\
         eyJhbGciOiAiRVMzODQifQ.eyJzdWIiOiAiYW5uIiwgImV4cCI6IDE4MDAwMDAxMDB9.vmce8CqOw7X-\
         0Kec-umEJEB-aU827nMZC6wg2b4ARdTV7Ic8tS_KMG62GjySMvr1mFfLPahnIdcuZ680U4HOH9bdRv6h\
         5bgdBlUAuaDzOJmus8NCOVNZ_1XnitrrF_76",
    ),
    (
        "EdDSA",
        ED25519,
        "\
         eyJhbGciOiAiRWREU0EifQ.eyJzdWIiOiAiYW5uIiwgImV4cCI6IDE4MDAwMDAxMDB9.uRqZlW-B3AYh\
         JgGCPZB8s1b3BLq-mLqLPraN-9q-fAV8tXrSm4aMGx7yynwrYUF-pTMWRS3PuykqIvhANlgOCQ",
    ),
];
