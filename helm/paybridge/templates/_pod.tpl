{{/*
The pod's parts that daemon, hook and test have in common.
*/}}

{{/* What every pod of ours has. Takes {root}. */}}
{{- define "paybridge.podBase" -}}
automountServiceAccountToken: false
enableServiceLinks: false
{{- with .root.Values.imagePullSecrets }}
imagePullSecrets:
  {{- toYaml . | nindent 2 }}
{{- end }}
securityContext:
  {{- include "paybridge.podSecurityContext" . | nindent 2 }}
{{- end -}}

{{/* What every container of ours has. Takes {root, settings}. */}}
{{- define "paybridge.containerBase" -}}
image: {{ include "paybridge.image" .root | quote }}
imagePullPolicy: {{ .root.Values.image.pullPolicy }}
securityContext:
  {{- include "paybridge.containerSecurityContext" . | nindent 2 }}
env:
  - name: PAYBRIDGE_CONFIG
    value: /etc/paybridge/config/paybridge.toml
  # In each event, and in the names of the engine's transactions: it outlives a restart of the container.
  - name: PAYBRIDGE__BRIDGE_INSTANCE
    valueFrom:
      fieldRef:
        fieldPath: metadata.name
  {{- with .settings.env }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- end -}}

{{/* Spreads pods over zones and nodes, or as the values say. Takes {root, component, settings}. */}}
{{- define "paybridge.topologySpreadConstraints" -}}
{{- $constraints := .settings.topologySpreadConstraints -}}
{{- if kindIs "invalid" $constraints -}}
{{- $constraints = list -}}
{{- range $key := list "topology.kubernetes.io/zone" "kubernetes.io/hostname" -}}
{{- $constraints = append $constraints (dict "maxSkew" 1 "topologyKey" $key "whenUnsatisfiable" "ScheduleAnyway" "matchLabelKeys" (list "pod-template-hash")) -}}
{{- end -}}
{{- end -}}
{{- $labels := include "paybridge.selectorLabels" . | fromYaml -}}
{{- $selected := list -}}
{{- range $constraint := $constraints -}}
{{- /* One that is given stays as it is: with more labels it would choose fewer pods. */ -}}
{{- if not (hasKey $constraint "labelSelector") -}}
{{- $constraint = merge (dict "labelSelector" (dict "matchLabels" $labels)) $constraint -}}
{{- end -}}
{{- $selected = append $selected $constraint -}}
{{- end -}}
{{- with $selected -}}
{{- toYaml . -}}
{{- end -}}
{{- end -}}
