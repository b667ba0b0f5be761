{{/*
The daemon's configuration, from values to TOML, and the volumes with the secrets that it names.
The values have the TOML's keys in camelCase; a relative file name is a file of the secret that stands beside it.
*/}}

{{/* A part of the values as the TOML has it: keys in snake case, without those that are not set. JSON. */}}
{{- define "paybridge.snake" -}}
{{- $out := dict -}}
{{- range $key, $value := . -}}
{{- if kindIs "map" $value -}}
{{- $_ := set $out (snakecase $key) (include "paybridge.snake" $value | fromJson) -}}
{{- else if not (or (kindIs "invalid" $value) (and (kindIs "string" $value) (eq $value ""))) -}}
{{- $_ := set $out (snakecase $key) $value -}}
{{- end -}}
{{- end -}}
{{- toJson $out -}}
{{- end -}}

{{/* One value as TOML. Text is a JSON string, which TOML reads the same, or a literal where it has quotes. Numbers of values are floats: ours are whole. */}}
{{- define "paybridge.toml.value" -}}
{{- if and (kindIs "string" .) (regexMatch "^[ -&(-~]*\"[ -&(-~]*$" .) -}}
'{{ . }}'
{{- else if kindIs "string" . -}}
{{- toRawJson . -}}
{{- else if kindIs "slice" . -}}
[{{ range $index, $item := . }}{{ if $index }}, {{ end }}{{ include "paybridge.toml.value" $item }}{{ end }}]
{{- else if kindIs "map" . -}}
{{- $pairs := list -}}
{{- range $key, $value := . -}}
{{- $pairs = append $pairs (printf "%s = %s" (include "paybridge.toml.key" $key) (include "paybridge.toml.value" $value)) -}}
{{- end -}}
{{ printf "{ %s }" (join ", " $pairs) }}
{{- else if kindIs "bool" . -}}
{{- . -}}
{{- else -}}
{{- int64 . -}}
{{- end -}}
{{- end -}}

{{/*
A table and the tables in it, without those that say nothing. Takes {path, table, header}. Of the lists of tables only the rules
have a header for each.
*/}}
{{- define "paybridge.toml.table" -}}
{{- $path := .path -}}
{{- $lines := list -}}
{{- range $key, $value := .table -}}
{{- if not (or (kindIs "map" $value) (and (eq $key "rules") (kindIs "slice" $value))) -}}
{{- $lines = append $lines (printf "%s = %s" (include "paybridge.toml.key" $key) (include "paybridge.toml.value" $value)) -}}
{{- end -}}
{{- end -}}
{{- if $lines -}}
{{- with .header }}
{{ . }}
{{- end }}
{{ join "\n" $lines }}
{{ end -}}
{{- range $key, $value := .table -}}
{{- $inner := printf "%s%s" (ternary (printf "%s." $path) "" (ne $path "")) (include "paybridge.toml.key" $key) -}}
{{- if kindIs "map" $value -}}
{{- include "paybridge.toml.table" (dict "path" $inner "table" $value "header" (printf "[%s]" $inner)) -}}
{{- else if and (eq $key "rules") (kindIs "slice" $value) -}}
{{- range $rule := $value -}}
{{- include "paybridge.toml.table" (dict "path" $inner "table" $rule "header" (printf "[[%s]]" $inner)) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* A bare key where TOML takes one: librdkafka's properties and types of events have dots. */}}
{{- define "paybridge.toml.key" -}}
{{- if regexMatch "^[A-Za-z0-9_-]+$" . }}{{ . }}{{ else }}{{ toRawJson . }}{{ end -}}
{{- end -}}

{{/* A file of a configuration: as it is, or below the folder of its secret. Takes {file, folder, secret, key}. */}}
{{- define "paybridge.file" -}}
{{- if hasPrefix "/" .file -}}
{{- .file -}}
{{- else if .secret -}}
{{- printf "%s/%s" .folder .file -}}
{{- else -}}
{{- fail (printf "%s names the file %q of a secret, but no existingSecret stands beside it: name the Secret, or give an absolute path and mount it with workload.volumes" .key .file) -}}
{{- end -}}
{{- end -}}

{{/* One source as TOML has it. Takes {name, source, engine}; JSON. The tables that describe a sender stand in the values as in the TOML. */}}
{{- define "paybridge.source" -}}
{{- $name := .name -}}
{{- $source := .source -}}
{{- $folder := printf "/etc/paybridge/sources/%s" $name -}}
{{- $secret := or $source.existingSecret $source.volume -}}
{{- $tables := include "paybridge.senderTables" $source | fromJson -}}
{{- $rest := omit $source "existingSecret" "volume" "api" -}}
{{- range $key, $_ := $tables -}}
{{- $rest = omit $rest $key -}}
{{- end -}}
{{- $out := merge $tables (include "paybridge.snake" $rest | fromJson) -}}
{{- range $key, $value := $rest -}}
{{- if hasSuffix "Files" $key -}}
{{- $files := list -}}
{{- range $file := $value -}}
{{- $files = append $files (include "paybridge.file" (dict "file" $file "folder" $folder "secret" $secret "key" (printf "sources.%s.%s" $name $key))) -}}
{{- end -}}
{{- $_ := set $out (snakecase $key) $files -}}
{{- end -}}
{{- end -}}
{{- if and .engine $source.api -}}
{{- $api := include "paybridge.snake" (omit $source.api "existingSecret" "volume" "privateKeyFile") | fromJson -}}
{{- $own := or $source.api.existingSecret $source.api.volume -}}
{{- $apiFolder := ternary (printf "/etc/paybridge/api/%s" $name) $folder (not (not $own)) -}}
{{- $_ := set $api "private_key_file" (include "paybridge.file" (dict "file" $source.api.privateKeyFile "folder" $apiFolder "secret" (or $own $secret) "key" (printf "sources.%s.api.privateKeyFile" $name))) -}}
{{- $_ := set $out "api" $api -}}
{{- end -}}
{{- toJson $out -}}
{{- end -}}

{{/* librdkafka's properties for kafka.auth, as JSON {properties, files}. Takes {root, ingress}. */}}
{{- define "paybridge.kafkaAuth" -}}
{{- $values := .root.Values -}}
{{- $auth := $values.kafka.auth -}}
{{- $properties := dict -}}
{{- $files := dict -}}
{{- if eq $auth.type "scram" -}}
{{- $properties = dict "security.protocol" (ternary "sasl_ssl" "sasl_plaintext" $auth.encrypted) "sasl.mechanism" $auth.mechanism "sasl.username" (include "paybridge.kafkaUsername" .) -}}
{{- $files = dict "sasl.password" (printf "/etc/paybridge/kafka/user/%s" $auth.passwordKey) -}}
{{- else if eq $auth.type "tls" -}}
{{- $properties = dict "security.protocol" "ssl" "ssl.certificate.location" (printf "/etc/paybridge/kafka/user/%s" $auth.certificateKey) "ssl.key.location" (printf "/etc/paybridge/kafka/user/%s" $auth.privateKeyKey) -}}
{{- end -}}
{{- if include "paybridge.kafkaCaSource" .root -}}
{{- $_ := set $properties "ssl.ca.location" (printf "/etc/paybridge/kafka/ca/%s" $auth.ca.key) -}}
{{- end -}}
{{- range $name, $_ := merge (dict) $properties $files -}}
{{- if or (hasKey ($values.kafka.properties | default dict) $name) (hasKey ($values.kafka.propertyFiles | default dict) $name) -}}
{{- fail (printf "kafka.properties or kafka.propertyFiles has %q, which kafka.auth sets: remove one of the two" $name) -}}
{{- end -}}
{{- end -}}
{{- toJson (dict "properties" $properties "files" $files) -}}
{{- end -}}

{{/* The name of Strimzi's KafkaUser of a workload, where this chart has one: each has its own. Takes {root, ingress}. */}}
{{- define "paybridge.strimziUser" -}}
{{- if and .root.Values.strimzi.enabled .root.Values.strimzi.user.enabled -}}
{{ .root.Values.strimzi.user.name | default (include "paybridge.fullname" .root) }}
{{- if eq .root.Values.mode "split" }}-{{ ternary "ingress" "engine" .ingress }}{{ end -}}
{{- end -}}
{{- end -}}

{{/* Takes the same. */}}
{{- define "paybridge.kafkaUsername" -}}
{{- .root.Values.kafka.auth.username | default (include "paybridge.strimziUser" .) -}}
{{- end -}}

{{/* The Secret with a workload's credentials at Kafka: Strimzi names it as the user. Takes the same. */}}
{{- define "paybridge.kafkaUserSecret" -}}
{{- .root.Values.kafka.auth.existingSecret | default (include "paybridge.strimziUser" .) -}}
{{- end -}}

{{/* The volume source with the authorities of Kafka's certificates; empty where the system's are believed. */}}
{{- define "paybridge.kafkaCaSource" -}}
{{- $ca := .Values.kafka.auth.ca -}}
{{- if $ca.existingConfigMap -}}
configMap:
  name: {{ $ca.existingConfigMap }}
  defaultMode: 0440
{{- else if $ca.existingSecret -}}
secret:
  secretName: {{ $ca.existingSecret }}
  defaultMode: 0440
{{- end -}}
{{- end -}}

{{/* The sources that a workload has: an engine alone has those of the one provider that asks for confirmations. Takes {root, ingress}; JSON. */}}
{{- define "paybridge.sources" -}}
{{- $sources := dict -}}
{{- range $name, $source := .root.Values.sources -}}
{{- if or $.ingress (eq $source.provider "smart-glocal") -}}
{{- $_ := set $sources $name $source -}}
{{- end -}}
{{- end -}}
{{- toJson $sources -}}
{{- end -}}

{{/* The whole configuration of a workload, as TOML. Takes {root, ingress, engine}. */}}
{{- define "paybridge.config" -}}
{{- $values := .root.Values -}}
{{- $config := dict -}}
{{- range $part := list "admin" "dedup" "rejected" "evidence" "shutdown" "log" -}}
{{- $_ := set $config $part (include "paybridge.snake" (get $values $part) | fromJson) -}}
{{- end -}}
{{- /* Who takes no webhooks has nothing to store. */ -}}
{{- $spool := dict "enabled" false -}}
{{- if .ingress -}}
{{- $spool = include "paybridge.snake" (omit $values.spool "volume" "drainClaims") | fromJson -}}
{{- end -}}
{{- $_ := set $config "spool" $spool -}}
{{- $ingress := include "paybridge.snake" (omit $values.ingress "tls") | fromJson -}}
{{- $_ := set $ingress "enabled" .ingress -}}
{{- if and .ingress $values.ingress.tls.enabled -}}
{{- $tls := dict -}}
{{- range $key := list "certFile" "keyFile" "clientCaFile" -}}
{{- with get $values.ingress.tls $key -}}
{{- $_ := set $tls (snakecase $key) (include "paybridge.file" (dict "file" . "folder" "/etc/paybridge/tls" "secret" $values.ingress.tls.existingSecret "key" (printf "ingress.tls.%s" $key))) -}}
{{- end -}}
{{- end -}}
{{- $_ := set $ingress "tls" $tls -}}
{{- end -}}
{{- $_ := set $config "ingress" $ingress -}}
{{- $auth := include "paybridge.kafkaAuth" . | fromJson -}}
{{- $kafka := include "paybridge.snake" (pick $values.kafka "bootstrapServers" "topicPrefix" "partitions" "replicationFactor") | fromJson -}}
{{- $_ := set $kafka "topic_settings" $values.kafka.topicSettings -}}
{{- $_ := set $kafka "properties" (merge $auth.properties ($values.kafka.properties | default dict)) -}}
{{- $_ := set $kafka "property_files" (merge $auth.files ($values.kafka.propertyFiles | default dict)) -}}
{{- $_ := set $kafka "ingress" (pick $values.kafka.ingress "properties") -}}
{{- $_ := set $kafka "engine" (pick $values.kafka.engine "properties") -}}
{{- $_ := set $config "kafka" $kafka -}}
{{- $sources := dict -}}
{{- range $name, $source := include "paybridge.sources" . | fromJson -}}
{{- $_ := set $sources $name (include "paybridge.source" (dict "name" $name "source" $source "engine" $.engine) | fromJson) -}}
{{- end -}}
{{- $_ := set $config "sources" $sources -}}
{{- if .engine -}}
{{- $_ := set $config "confirmation" (include "paybridge.snake" $values.confirmation | fromJson) -}}
{{- else -}}
{{- $_ := set $config "confirmation" (dict "enabled" false) -}}
{{- end -}}
{{- include "paybridge.toml.table" (dict "path" "" "table" $config "header" "") | trim }}
{{ end -}}

{{/* The same as a ConfigMap's data. No line has only spaces: kubectl would show the whole as one line. */}}
{{- define "paybridge.configData" }}
  paybridge.toml: |
{{ regexReplaceAll "(?m)^ +$" (include "paybridge.config" . | indent 4) "" }}
{{- end -}}

{{/* A volume's name has 63 characters: of a longer one the end is its digest. */}}
{{- define "paybridge.volumeName" -}}
{{- if gt (len .) 63 -}}
{{ trunc 54 . | trimSuffix "-" }}-{{ sha256sum . | trunc 8 }}
{{- else -}}
{{ . }}
{{- end -}}
{{- end -}}

{{/*
Volumes with the configuration and the secrets of a workload. Takes {root, ingress, engine, configMap, settings}; where the
spool's is no claim of a StatefulSet, spoolVolume too.
*/}}
{{- define "paybridge.volumes" -}}
- name: config
  configMap:
    name: {{ .configMap }}
{{- range $name, $source := include "paybridge.sources" . | fromJson }}
{{- with include "paybridge.secretVolume" $source }}
- name: {{ include "paybridge.volumeName" (printf "source-%s" $name) }}
  {{- . | nindent 2 }}
{{- end }}
{{- if and $.engine $source.api }}
{{- with include "paybridge.secretVolume" $source.api }}
- name: {{ include "paybridge.volumeName" (printf "api-%s" $name) }}
  {{- . | nindent 2 }}
{{- end }}
{{- end }}
{{- end }}
{{- if and .ingress .root.Values.ingress.tls.enabled .root.Values.ingress.tls.existingSecret }}
- name: tls
  secret:
    secretName: {{ .root.Values.ingress.tls.existingSecret }}
    defaultMode: 0440
{{- end }}
{{- if ne .root.Values.kafka.auth.type "none" }}
- name: kafka-user
  secret:
    secretName: {{ include "paybridge.kafkaUserSecret" . }}
    defaultMode: 0440
{{- end }}
{{- with include "paybridge.kafkaCaSource" .root }}
- name: kafka-ca
  {{- . | nindent 2 }}
{{- end }}
{{- with .spoolVolume }}
- name: spool
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .settings.volumes }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/* Where they are. Whole folders and no subPath: only those follow a changed secret. Takes the same, and spool. */}}
{{- define "paybridge.volumeMounts" -}}
- name: config
  mountPath: /etc/paybridge/config
  readOnly: true
{{- range $name, $source := include "paybridge.sources" . | fromJson }}
{{- if or $source.existingSecret $source.volume }}
- name: {{ include "paybridge.volumeName" (printf "source-%s" $name) }}
  mountPath: /etc/paybridge/sources/{{ $name }}
  readOnly: true
{{- end }}
{{- if and $.engine $source.api }}
{{- if or $source.api.existingSecret $source.api.volume }}
- name: {{ include "paybridge.volumeName" (printf "api-%s" $name) }}
  mountPath: /etc/paybridge/api/{{ $name }}
  readOnly: true
{{- end }}
{{- end }}
{{- end }}
{{- if and .ingress .root.Values.ingress.tls.enabled .root.Values.ingress.tls.existingSecret }}
- name: tls
  mountPath: /etc/paybridge/tls
  readOnly: true
{{- end }}
{{- if ne .root.Values.kafka.auth.type "none" }}
- name: kafka-user
  mountPath: /etc/paybridge/kafka/user
  readOnly: true
{{- end }}
{{- if include "paybridge.kafkaCaSource" .root }}
- name: kafka-ca
  mountPath: /etc/paybridge/kafka/ca
  readOnly: true
{{- end }}
{{- if .spool }}
- name: spool
  mountPath: {{ include "paybridge.spoolMountPath" .root }}
{{- end }}
{{- with .settings.volumeMounts }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/* A Secret's volume, or the one that stands in for it. Takes {existingSecret, volume}; empty where there is neither. */}}
{{- define "paybridge.secretVolume" -}}
{{- if .existingSecret -}}
secret:
  secretName: {{ .existingSecret }}
  defaultMode: 0440
{{- else if .volume -}}
{{ toYaml .volume }}
{{- end -}}
{{- end -}}
