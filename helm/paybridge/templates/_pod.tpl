{{/*
The pod's parts that daemon, hook and test have in common.
*/}}

{{/* What the daemon's pods are made from, be it by a Deployment or a StatefulSet. Takes {root, workload}. */}}
{{- define "paybridge.podTemplate" -}}
{{- $settings := .workload.settings -}}
{{- $labels := dict "root" .root "component" .workload.component -}}
{{- $parts := merge (dict "root" .root "configMap" .workload.name) .workload -}}
metadata:
  labels:
    {{- include "paybridge.podLabels" $labels | nindent 4 }}
    {{- with $settings.podLabels }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  annotations:
    # A changed configuration makes new pods. Changed secrets do not: the daemon takes them into use by itself.
    checksum/config: {{ include "paybridge.config" $parts | sha256sum }}
    {{- with $settings.podAnnotations }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
spec:
  {{- include "paybridge.podBase" $parts | nindent 2 }}
  serviceAccountName: {{ include "paybridge.serviceAccountName" .root }}
  # The daemon drains by itself when it is told to stop: there is no preStop hook.
  terminationGracePeriodSeconds: {{ include "paybridge.terminationGracePeriodSeconds" $parts }}
  {{- with $settings.priorityClassName }}
  priorityClassName: {{ . }}
  {{- end }}
  {{- with $settings.nodeSelector }}
  nodeSelector:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with $settings.tolerations }}
  tolerations:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with $settings.affinity }}
  affinity:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with include "paybridge.topologySpreadConstraints" $parts }}
  topologySpreadConstraints:
    {{- . | nindent 4 }}
  {{- end }}
  containers:
    - name: paybridge
      {{- include "paybridge.containerBase" $parts | nindent 6 }}
      args: [run]
      ports:
        {{- if $parts.ingress }}
        - name: webhooks
          containerPort: {{ include "paybridge.port" .root.Values.ingress.listen }}
          protocol: TCP
        {{- end }}
        - name: admin
          containerPort: {{ include "paybridge.port" .root.Values.admin.listen }}
          protocol: TCP
      # None of these depends on Kafka but the first readiness: an outage must not take all replicas away.
      startupProbe:
        httpGet:
          path: /livez
          port: admin
        periodSeconds: 1
        {{- if $parts.spool }}
        # It answers when it has read what is on its disk: up to spool.filesMax files.
        failureThreshold: 600
        {{- else }}
        failureThreshold: 30
        {{- end }}
      livenessProbe:
        httpGet:
          path: /livez
          port: admin
        periodSeconds: 10
        timeoutSeconds: 5
        failureThreshold: 3
      readinessProbe:
        httpGet:
          path: /readyz
          port: admin
        periodSeconds: 3
        timeoutSeconds: 3
      resources:
        {{- toYaml $settings.resources | nindent 8 }}
      volumeMounts:
        {{- include "paybridge.volumeMounts" $parts | nindent 8 }}
  volumes:
    {{- include "paybridge.volumes" $parts | nindent 4 }}
{{- end -}}

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

{{/* Spreads pods over zones and nodes, or as the values say. Takes {root, component, settings, spool}. */}}
{{- define "paybridge.topologySpreadConstraints" -}}
{{- $constraints := .settings.topologySpreadConstraints -}}
{{- if kindIs "invalid" $constraints -}}
{{- $constraints = list -}}
{{- range $key := list "topology.kubernetes.io/zone" "kubernetes.io/hostname" -}}
{{- $constraint := dict "maxSkew" 1 "topologyKey" $key "whenUnsatisfiable" "ScheduleAnyway" -}}
{{- /* A Deployment's new pods come beside the old ones, which do not count. A StatefulSet's take their places. */ -}}
{{- if not $.spool -}}
{{- $_ := set $constraint "matchLabelKeys" (list "pod-template-hash") -}}
{{- end -}}
{{- $constraints = append $constraints $constraint -}}
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
