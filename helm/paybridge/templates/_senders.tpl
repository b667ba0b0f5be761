{{/*
What is known of the sender of a source: its topics, what it signs, and what else keeps strangers out.
Of a preset, files/presets.yaml says what the chart needs to know; the source's own tables are put over it, as the daemon does it.
*/}}

{{/* The tables of a source that describe its sender. They have the daemon's own keys. Takes the source; JSON. */}}
{{- define "paybridge.senderTables" -}}
{{- pick . "signature" "timestamp" "event" "topics" "answer" | toJson -}}
{{- end -}}

{{/*
The sender of a source, as JSON {described, group, parts, tables}: whether tables describe it, the parts of its topics' names, and
its tables with those of its preset. Takes {root, name, source}.
*/}}
{{- define "paybridge.sender" -}}
{{- $provider := .source.provider -}}
{{- $typed := .root.Files.Get "files/event-types.yaml" | fromYaml -}}
{{- $presets := .root.Files.Get "files/presets.yaml" | fromYaml -}}
{{- if hasKey $typed $provider -}}
{{- toJson (dict "described" false "group" $provider "parts" (get $typed $provider) "tables" dict) -}}
{{- else -}}
{{- $tables := mergeOverwrite (get $presets $provider | default dict) (include "paybridge.senderTables" .source | fromJson) -}}
{{- $group := .source.topicPart | default (ternary $provider .name (hasKey $presets $provider)) -}}
{{- $parts := append (without (values ($tables.topics | default dict)) "") "received" | uniq | sortAlpha -}}
{{- toJson (dict "described" true "group" $group "parts" $parts "tables" $tables) -}}
{{- end -}}
{{- end -}}

{{/* Every name that is one sender's alone in the names of topics, or the engine's; JSON {names}. Takes the root. */}}
{{- define "paybridge.topicGroups" -}}
{{- $typed := .Files.Get "files/event-types.yaml" | fromYaml | keys -}}
{{- $presets := .Files.Get "files/presets.yaml" | fromYaml | keys -}}
{{- toJson (dict "names" (concat $typed $presets (list "confirmation" "custom"))) -}}
{{- end -}}

{{/* The templates of what a sender signs, without braces that are signed themselves; JSON {templates}. Takes the sender. */}}
{{- define "paybridge.signedTemplates" -}}
{{- $signed := (.tables.signature | default dict).signed | default list -}}
{{- $templates := list -}}
{{- range $template := ternary (list $signed) $signed (kindIs "string" $signed) -}}
{{- $templates = append $templates ($template | replace "{{" "" | replace "}}" "") -}}
{{- end -}}
{{- toJson (dict "templates" $templates) -}}
{{- end -}}

{{/* Something where addresses, a path of its own or names in certificates keep strangers out. Takes {name, source}. */}}
{{- define "paybridge.keepsStrangersOut" -}}
{{- $source := .source -}}
{{- $restricted := not (empty $source.allowFrom) -}}
{{- range $network := $source.allowFrom -}}
{{- if regexMatch "/0+$" $network -}}
{{- $restricted = false -}}
{{- end -}}
{{- end -}}
{{- $ownPath := and $source.path (ne $source.path (printf "/webhooks/%s" .name)) -}}
{{- if or $restricted $ownPath $source.clientCertNames -}}true{{- end -}}
{{- end -}}
