"""memcache's families of keys for TLS, one per connection that can be encrypted."""

from __future__ import annotations

from pydantic import Field

from pdtest.services.mmc_settings import FilePath, MmcSettings


class MetaTls(MmcSettings):
    """Between the meta service and its clients.

    `top.path`, to which the others are relative, is of the first releases; 1.3.0 refuses it.
    """

    tls_enable: bool | None = Field(default=None, alias="ock.mmc.tls.enable")
    tls_top: FilePath = Field(default=None, alias="ock.mmc.tls.top.path")
    tls_ca: FilePath = Field(default=None, alias="ock.mmc.tls.ca.path")
    tls_crl: FilePath = Field(default=None, alias="ock.mmc.tls.ca.crl.path")
    tls_cert: FilePath = Field(default=None, alias="ock.mmc.tls.cert.path")
    tls_key: FilePath = Field(default=None, alias="ock.mmc.tls.key.path")
    tls_key_pass: FilePath = Field(default=None, alias="ock.mmc.tls.key.pass.path")
    tls_package: FilePath = Field(default=None, alias="ock.mmc.tls.package.path")
    tls_decrypter: FilePath = Field(default=None, alias="ock.mmc.tls.decrypter.path")


class ConfigStoreTls(MmcSettings):
    """Of the store in which ranks find each other."""

    config_tls_enable: bool | None = Field(default=None, alias="ock.mmc.config_store.tls.enable")
    config_tls_ca: FilePath = Field(default=None, alias="ock.mmc.config_store.tls.ca.path")
    config_tls_crl: FilePath = Field(default=None, alias="ock.mmc.config_store.tls.ca.crl.path")
    config_tls_cert: FilePath = Field(default=None, alias="ock.mmc.config_store.tls.cert.path")
    config_tls_key: FilePath = Field(default=None, alias="ock.mmc.config_store.tls.key.path")
    config_tls_key_pass: FilePath = Field(default=None, alias="ock.mmc.config_store.tls.key.pass.path")
    config_tls_package: FilePath = Field(default=None, alias="ock.mmc.config_store.tls.package.path")
    config_tls_decrypter: FilePath = Field(default=None, alias="ock.mmc.config_store.tls.decrypter.path")


class HcomTls(MmcSettings):
    """Of the transport between local services; it finds OpenSSL by itself."""

    hcom_tls_enable: bool | None = Field(default=None, alias="ock.mmc.local_service.hcom.tls.enable")
    hcom_tls_ca: FilePath = Field(default=None, alias="ock.mmc.local_service.hcom.tls.ca.path")
    hcom_tls_crl: FilePath = Field(default=None, alias="ock.mmc.local_service.hcom.tls.ca.crl.path")
    hcom_tls_cert: FilePath = Field(default=None, alias="ock.mmc.local_service.hcom.tls.cert.path")
    hcom_tls_key: FilePath = Field(default=None, alias="ock.mmc.local_service.hcom.tls.key.path")
    hcom_tls_key_pass: FilePath = Field(default=None, alias="ock.mmc.local_service.hcom.tls.key.pass.path")
    hcom_tls_decrypter: FilePath = Field(default=None, alias="ock.mmc.local_service.hcom.tls.decrypter.path")
