#include "http_byte.h"

/*
 * One letter per byte, sixteen bytes a row. A registered name may hold more by RFC 3986 than here: the comma is left
 * out because "a,b" is also what two Host fields look like once somebody joined them (RFC 9110 5.3), the percent sign
 * because one parser decodes it and the next does not. No client sends either. The underscore is in.
 */
enum {
    C = HTTP_BYTE_CONTROL,
    T = HTTP_BYTE_TOKEN,
    H = HTTP_BYTE_HOST,
    N = HTTP_BYTE_TOKEN | HTTP_BYTE_HOST,                 /* names: letters, "-", ".", "_" ... */
    X = HTTP_BYTE_TOKEN | HTTP_BYTE_HOST | HTTP_BYTE_HEX, /* 0-9, A-F, a-f */
    o = 0                                                 /* blanks, delimiters, 0x80-0xff */
};

/* clang-format off */
const uint8_t http_byte_class[256] = {
    C, C, C, C, C, C, C, C, C, o, C, C, C, C, C, C, /* 0x09 tab */
    C, C, C, C, C, C, C, C, C, C, C, C, C, C, C, C,
    o, N, o, T, N, T, N, N, H, H, N, N, o, N, N, o, /*   ! " # $ % & ' ( ) * + , - . / */
    X, X, X, X, X, X, X, X, X, X, o, H, o, H, o, o, /* 0 1 2 3 4 5 6 7 8 9 : ; < = > ? */
    o, X, X, X, X, X, X, N, N, N, N, N, N, N, N, N, /* @ A B C D E F G H I J K L M N O */
    N, N, N, N, N, N, N, N, N, N, N, o, o, o, T, N, /* P Q R S T U V W X Y Z [ \ ] ^ _ */
    T, X, X, X, X, X, X, N, N, N, N, N, N, N, N, N, /* ` a b c d e f g h i j k l m n o */
    N, N, N, N, N, N, N, N, N, N, N, o, T, o, N, C, /* p q r s t u v w x y z { | } ~ DEL */
};
/* clang-format on */
